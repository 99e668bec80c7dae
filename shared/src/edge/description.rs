//! The API as its programs describe it: each route is given with what it takes and answers, and the same table makes the
//! router and the OpenAPI 3.1 document. What is the same for all of them is here: problems, who is signed in, conditional
//! GETs.

use std::collections::BTreeMap;

use axum::Router;
use axum::routing::MethodRouter;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use super::problem::{Document, FieldError, Problem, ProblemType};

/// What every route of signed-in users may answer.
const ANYWHERE: [ProblemType; 3] = [
    ProblemType::RateLimited,
    ProblemType::Internal,
    ProblemType::Unavailable,
];
/// What a POST may answer, as it can be sent again under its `Idempotency-Key`.
const REPEATED: [ProblemType; 4] = [
    ProblemType::InvalidRequest,
    ProblemType::IdempotencyKeyReused,
    ProblemType::RequestUnderWay,
    ProblemType::PayloadTooLarge,
];
const JSON: &str = "application/json";

/// A program's routes, each with its description.
#[derive(Debug)]
pub struct Routes<S> {
    router: Router<S>,
    paths: BTreeMap<&'static str, Vec<Operation>>,
}

impl<S: Clone + Send + Sync + 'static> Default for Routes<S> {
    fn default() -> Self {
        Self {
            router: Router::new(),
            paths: BTreeMap::new(),
        }
    }
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    /// Adds a path with all of its methods; whoever uses another is told these.
    #[must_use]
    pub fn at<const N: usize>(mut self, path: &'static str, methods: [(Operation, MethodRouter<S>); N]) -> Self {
        let mut all = MethodRouter::new();
        let mut operations = Vec::with_capacity(N);
        for (operation, method) in methods {
            all = all.merge(method);
            operations.push(operation);
        }
        let mut allowed: Vec<_> = operations.iter().map(|operation| operation.method).collect();
        allowed.sort_unstable();
        let allowed = allowed.join(", ");
        let all = all.fallback(async move || Problem::method_not_allowed(allowed));
        self.router = self.router.route(path, all);
        self.paths.insert(path, operations);
        self
    }

    /// These and others.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.router = self.router.merge(others.router);
        self.paths.extend(others.paths);
        self
    }

    /// The router that serves them.
    pub fn router(self) -> Router<S> {
        self.router
    }

    /// What they say about themselves.
    #[must_use]
    pub fn description(self) -> Description {
        Description(self.paths)
    }
}

/// What a program's routes say about themselves.
#[derive(Debug)]
pub struct Description(BTreeMap<&'static str, Vec<Operation>>);

impl Description {
    /// The paths of the routes.
    pub fn paths(&self) -> impl Iterator<Item = &'static str> {
        self.0.keys().copied()
    }
}

/// How a type tells its shape.
type Shape = fn(&mut SchemaGenerator) -> Schema;

/// One method of a path.
#[derive(Debug)]
pub struct Operation {
    method: &'static str,
    id: &'static str,
    tag: &'static str,
    summary: &'static str,
    open: bool,
    query: Option<Shape>,
    takes: Option<(&'static str, Shape)>,
    answers: Vec<Answer>,
    problems: Vec<ProblemType>,
}

#[derive(Debug)]
struct Answer {
    status: u16,
    description: &'static str,
    content: Option<(&'static str, Shape)>,
    has_location: bool,
}

impl Operation {
    /// A GET.
    #[must_use]
    pub fn get(id: &'static str, tag: &'static str, summary: &'static str) -> Self {
        Self::new("GET", id, tag, summary)
    }

    /// A POST.
    #[must_use]
    pub fn post(id: &'static str, tag: &'static str, summary: &'static str) -> Self {
        Self::new("POST", id, tag, summary)
    }

    /// A PUT.
    #[must_use]
    pub fn put(id: &'static str, tag: &'static str, summary: &'static str) -> Self {
        Self::new("PUT", id, tag, summary)
    }

    /// A PATCH.
    #[must_use]
    pub fn patch(id: &'static str, tag: &'static str, summary: &'static str) -> Self {
        Self::new("PATCH", id, tag, summary)
    }

    /// A DELETE.
    #[must_use]
    pub fn delete(id: &'static str, tag: &'static str, summary: &'static str) -> Self {
        Self::new("DELETE", id, tag, summary)
    }

    fn new(method: &'static str, id: &'static str, tag: &'static str, summary: &'static str) -> Self {
        Self {
            method,
            id,
            tag,
            summary,
            open: false,
            query: None,
            takes: None,
            answers: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// For anyone, signed in or not.
    #[must_use]
    pub fn open(mut self) -> Self {
        self.open = true;
        self
    }

    /// Takes these query parameters.
    #[must_use]
    pub fn query<T: JsonSchema>(mut self) -> Self {
        self.query = Some(T::json_schema);
        self
    }

    /// Takes a JSON body.
    #[must_use]
    pub fn takes<T: JsonSchema>(self) -> Self {
        self.takes_as::<T>(JSON)
    }

    /// Takes a body of this media type.
    #[must_use]
    pub fn takes_as<T: JsonSchema>(mut self, media_type: &'static str) -> Self {
        self.takes = Some((media_type, T::json_schema));
        self
    }

    /// Answers with a JSON body.
    #[must_use]
    pub fn answers<T: JsonSchema>(self, status: u16, description: &'static str) -> Self {
        self.answers_as::<T>(status, JSON, description)
    }

    /// Answers with a body of this media type.
    #[must_use]
    pub fn answers_as<T: JsonSchema>(
        mut self,
        status: u16,
        media_type: &'static str,
        description: &'static str,
    ) -> Self {
        self.answers.push(Answer {
            status,
            description,
            content: Some((media_type, SchemaGenerator::subschema_for::<T>)),
            has_location: false,
        });
        self
    }

    /// Answers without a body.
    #[must_use]
    pub fn answers_empty(mut self, status: u16, description: &'static str) -> Self {
        self.answers.push(Answer {
            status,
            description,
            content: None,
            has_location: false,
        });
        self
    }

    /// The latest answer says in `Location` where what was made is.
    #[must_use]
    pub fn with_location(mut self) -> Self {
        if let Some(answer) = self.answers.last_mut() {
            answer.has_location = true;
        }
        self
    }

    /// May answer with these problems, besides those that all routes have.
    #[must_use]
    pub fn problems(mut self, kinds: &[ProblemType]) -> Self {
        self.problems.extend(kinds);
        self
    }

    fn written(&self, path: &str, shapes: &mut Shapes) -> Value {
        let mut operation = json!({
            "operationId": self.id, "tags": [self.tag], "summary": self.summary,
            "parameters": self.parameters(path, shapes), "responses": self.responses(shapes),
        });
        if let Some((media_type, schema)) = self.takes {
            let schema = schema(&mut shapes.taken);
            operation["requestBody"] = json!({ "required": true, "content": { media_type: { "schema": schema } } });
        }
        if self.open {
            operation["security"] = json!([]);
        }
        operation
    }

    fn parameters(&self, path: &str, shapes: &mut Shapes) -> Vec<Value> {
        let mut parameters = Vec::new();
        let named = path
            .split('/')
            .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
        parameters.extend(named.map(|name| {
            json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string", "minLength": 1 } })
        }));
        if let Some(query) = self.query {
            let mut schema = Value::from(query(&mut shapes.taken));
            for (name, schema) in object(&mut schema["properties"]) {
                let description = object(schema).remove("description");
                let null = json!("null");
                // A parameter is there or not: it has no null.
                if let Some(kinds) = schema["type"].as_array() {
                    let kind = kinds.iter().find(|kind| **kind != null).cloned();
                    schema["type"] = kind.unwrap_or(null);
                }
                parameters.push(json!({
                    "name": name, "in": "query", "required": false, "description": description, "schema": schema,
                }));
            }
        }
        if self.is_conditional() {
            parameters.push(json!({
                "name": "If-None-Match", "in": "header", "required": false,
                "description": "Tags of answers that the caller has already", "schema": { "type": "string" },
            }));
        }
        if self.is_repeatable() {
            parameters.push(json!({
                "name": "Idempotency-Key", "in": "header", "required": false,
                "description": "The caller's own name for this request: sent again under it within a day, it is done once, \
                                and answered as it was",
                "schema": { "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$" },
            }));
        }
        parameters
    }

    fn is_conditional(&self) -> bool {
        self.method == "GET"
    }

    /// In step with `edge::idempotent`.
    fn is_repeatable(&self) -> bool {
        self.method == "POST"
    }

    fn responses(&self, shapes: &mut Shapes) -> Map<String, Value> {
        let tag = json!({ "description": "A tag of what is said", "schema": { "type": "string" } });
        let mut responses = Map::new();
        for answer in &self.answers {
            let mut response = json!({ "description": answer.description });
            if let Some((media_type, schema)) = answer.content {
                let schema = schema(&mut shapes.answered);
                response["content"] = json!({ media_type: { "schema": schema } });
            }
            if answer.has_location {
                response["headers"]["Location"] =
                    json!({ "description": "Where it is", "schema": { "type": "string" } });
            }
            if self.is_conditional() && answer.status == 200 {
                response["headers"]["ETag"] = tag.clone();
            }
            responses.insert(answer.status.to_string(), response);
        }
        if self.is_conditional() {
            let description = "Nothing has changed since the answer of this tag";
            responses.insert(
                "304".to_owned(),
                json!({ "description": description, "headers": { "ETag": tag } }),
            );
        }
        if self.open {
            return responses;
        }
        responses.insert(
            "401".to_owned(),
            json!({
                "description": "Nobody is signed in: the gateway's own answer",
                "content": { JSON: {
                    "schema": { "type": "object", "properties": { "message": { "type": "string" } } },
                    "example": { "message": "Unauthorized" },
                } },
            }),
        );
        let mut by_status: BTreeMap<u16, Vec<ProblemType>> = BTreeMap::new();
        let repeated = if self.is_repeatable() { &REPEATED[..] } else { &[] };
        for kind in self.problems.iter().chain(repeated).chain(&ANYWHERE) {
            let kinds = by_status.entry(kind.status().as_u16()).or_default();
            if !kinds.contains(kind) {
                kinds.push(*kind);
            }
        }
        responses.extend(
            by_status
                .into_iter()
                .map(|(status, kinds)| (status.to_string(), refusal(status, &kinds))),
        );
        responses
    }
}

/// The answer with one of these problems, which have the same status.
fn refusal(status: u16, kinds: &[ProblemType]) -> Value {
    let types: Vec<_> = kinds.iter().map(|kind| format!("/problems/{}", kind.name())).collect();
    let names: Vec<_> = kinds.iter().map(|kind| format!("`{}`", kind.name())).collect();
    let examples: Map<_, _> = kinds
        .iter()
        .map(|kind| {
            let wrong = [FieldError {
                pointer: "/timestamp".to_owned(),
                detail: "invalid type: string, expected i64".to_owned(),
            }];
            let errors = if *kind == ProblemType::InvalidRequest {
                &wrong[..]
            } else {
                &[]
            };
            (kind.name().to_owned(), json!({ "value": kind.document(None, errors) }))
        })
        .collect();
    let mut response = json!({
        "description": names.join(" or "),
        "content": { "application/problem+json": {
            "schema": {
                "allOf": [{ "$ref": "#/components/schemas/Problem" }],
                "properties": { "type": { "enum": types }, "status": { "const": status } },
            },
            "examples": examples,
        } },
    });
    if [429, 503].contains(&status) {
        response["headers"]["Retry-After"] = json!({
            "description": "When to try again, in seconds; not always known with 503", "schema": { "type": "integer" },
        });
    }
    response
}

/// The shapes of what is taken, each in its place, and of what is answered, by their names.
struct Shapes {
    taken: SchemaGenerator,
    answered: SchemaGenerator,
}

/// One document of what the programs say.
#[must_use]
pub fn whole(parts: impl IntoIterator<Item = Description>) -> Value {
    let settings = || {
        SchemaSettings::draft2020_12().with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        })
    };
    let mut shapes = Shapes {
        taken: settings()
            .for_deserialize()
            .with(|settings| settings.inline_subschemas = true)
            .into_generator(),
        answered: settings().for_serialize().into_generator(),
    };
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for (path, operations) in parts.into_iter().flat_map(|part| part.0) {
        for operation in operations {
            let method = operation.method.to_ascii_lowercase();
            let written = operation.written(path, &mut shapes);
            paths.entry(path).or_default().insert(method, written);
        }
    }
    shapes.answered.subschema_for::<Document<'_>>();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Ring partner backend",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What a partner's frontends call: linked accounts, devices, events, policies, media and live video.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "security": [{ "signed_in": [] }],
        "paths": paths,
        "components": {
            "schemas": shapes.answered.take_definitions(true),
            "securitySchemes": { "signed_in": {
                "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
                "description": "The ID token of the stack's OIDC issuer.",
            } },
        },
    })
}

/// The object that this is, made one if it is none.
fn object(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = json!({});
    }
    value.as_object_mut().expect("it was made one")
}
