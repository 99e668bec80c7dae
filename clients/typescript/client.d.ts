// The types of `client.js`: each path, parameter, body and answer is the one of the API's description.

import type { components, paths } from './schema.js';

export type { components, paths } from './schema.js';

/** The shapes of the API by their names: `Schemas['Device']`. */
export type Schemas = components['schemas'];

type Method = 'get' | 'post' | 'put' | 'patch' | 'delete';
type Change = Exclude<Method, 'get'>;

/** The paths that have this method. */
export type PathOf<M extends Method> = { [P in keyof paths]: NonNullable<paths[P][M]> extends { responses: unknown } ? P : never }[keyof paths];

type OperationOf<M extends Method, P extends keyof paths> = NonNullable<paths[P][M]>;

type Given<Name extends string, T> = [T] extends [never] ? unknown : { [K in Name]: T };
type Optional<Name extends string, T> = [T] extends [never] ? unknown : { [K in Name]?: T };

type Path<O> = O extends { parameters: { path: infer T } } ? Given<'path', T> : unknown;
type QueryOf<O> = O extends { parameters: { query?: infer T } } ? NonNullable<T> : never;
type Body<O> = O extends { requestBody: { content: { 'application/json': infer T } } }
  ? { body: T }
  : O extends { requestBody: { content: { 'application/sdp': infer T } } } ? { body: T; type: 'application/sdp' } : unknown;
type Once<M extends Method> = M extends 'post'
  ? { /** The request's own name: sent again under it within a day, it is done once (`Idempotency-Key`). */ once?: string }
  : unknown;

interface Bearer {
  /** An ID token to use in place of `token()`'s: the request is made at once. */
  token?: string;
  /** Whether the request outlives the page. */
  keepalive?: boolean;
}

/** What a request is made of. */
export type Request<M extends Method, P extends keyof paths> =
  Bearer & Once<M> & Path<OperationOf<M, P>> & Optional<'query', QueryOf<OperationOf<M, P>>> & Body<OperationOf<M, P>>;

/** It may be left out where nothing in it has to be there. */
type Requested<T> = Record<never, never> extends T ? [options?: T] : [options: T];

type Content<R> = R extends { content: infer C } ? ([C] extends [never] ? null : C[keyof C]) : null;
type Success = 200 | 201 | 202 | 204;

/** What is answered where it goes well. */
export type Answer<M extends Method, P extends keyof paths> = OperationOf<M, P> extends { responses: infer R }
  ? { [S in keyof R & Success]: Content<R[S]> }[keyof R & Success]
  : never;

/** The paths of lists. */
export type ListPath = { [P in PathOf<'get'>]: Answer<'get', P> extends { items: unknown[]; next?: unknown } ? P : never }[PathOf<'get'>];

type Problems<O> = O extends { responses: infer R } ? { [S in keyof R]: TypeOf<R[S]> }[keyof R] : never;
type TypeOf<R> = R extends { content: { 'application/problem+json': { type?: infer T } } } ? T : never;
type EachProblem = { [P in keyof paths]: { [M in Method]: Problems<OperationOf<M, P>> }[Method] }[keyof paths];

/** `offline`: nothing answered. `signed-out`: the gateway knows no such user. `http-…`: an answer that is no document of the API. */
export type ProblemName = (EachProblem extends `/problems/${infer Name}` ? Name : never) | 'offline' | 'signed-out' | `http-${number}`;

/** What went wrong. */
export declare class Problem extends Error {
  constructor(name: ProblemName, status?: number, body?: Partial<Schemas['Problem']>, retryAfter?: number | null);
  name: ProblemName;
  /** The status, 0 where nothing answered. */
  readonly status: number;
  /** Which fields are wrong, by JSON pointers. */
  readonly errors: { pointer: string; detail: string }[];
  readonly detail: string | null;
  /** When to try again, in seconds, where it is told. */
  readonly retryAfter: number | null;
}

export interface Options {
  /** The API's URL, up to and without `v1/`. */
  base: string | URL;
  /** The signed-in user's ID token, asked for before each request. */
  token: () => string | Promise<string>;
  fetch?: typeof globalThis.fetch;
  /** The most that an answer is waited for, in milliseconds. */
  patience?: number;
}

/** A client of one user. */
export declare class Client {
  constructor(options: Options);
  /** Reads, conditionally where it was read before: the very same object while it has not changed. */
  get<P extends PathOf<'get'>>(path: P, ...request: Requested<Request<'get', P>>): Promise<Answer<'get', P>>;
  /** All items of a list, page by page, of `pages` pages at the most (10 unless told). */
  all<P extends ListPath>(path: P, ...request: Requested<Request<'get', P> & { pages?: number }>): Promise<Answer<'get', P>['items']>;
  /** Asks for something to be done: what is answered, and where what was made is. */
  send<M extends Change, P extends PathOf<M>>(
    method: M, path: P, ...request: Requested<Request<M, P>>
  ): Promise<{ status: number; body: Answer<M, P>; location: string | null }>;
}
