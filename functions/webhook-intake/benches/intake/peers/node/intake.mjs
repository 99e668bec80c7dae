// The intake as it is usually written in Node: clients and keys outside the handler, and one SendMessage within it.

import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { GetSecretValueCommand, SecretsManagerClient } from "@aws-sdk/client-secrets-manager";
import { SendMessageCommand, SQSClient } from "@aws-sdk/client-sqs";

const config = { maxAttempts: 3, requestHandler: { connectionTimeout: 1_000, requestTimeout: 2_000 } };
const sqs = new SQSClient(config);
const secrets = new SecretsManagerClient(config);
const queueUrl = process.env.EVENTS_QUEUE_URL;

// The current signing key and the one before it.
const answer = await secrets.send(new GetSecretValueCommand({ SecretId: process.env.SIGNING_SECRET_ID }));
const secret = JSON.parse(answer.SecretString);
const keys = [secret.hmac_signing_key, secret.hmac_signing_key_previous].filter(Boolean);

// Whether one of the keys signed the body. Each is tried.
function verifies(body, header) {
  if (!/^sha256=[0-9a-f]{64}$/i.test(header)) return false;
  const given = Buffer.from(header.slice("sha256=".length), "hex");
  const found = keys.map((key) => timingSafeEqual(createHmac("sha256", key).update(body).digest(), given));
  return found.some(Boolean);
}

// A hash of the account, so that one busy home delays nobody else.
function groupOf(body) {
  try {
    return createHash("sha256").update(String(JSON.parse(body).meta.account_id)).digest("hex");
  } catch {
    return "unknown";
  }
}

const answered = (statusCode, body) => ({
  statusCode,
  headers: { "content-type": "application/json" },
  body: JSON.stringify(body),
});

export async function handler(event) {
  const body = Buffer.from(event.body ?? "", event.isBase64Encoded ? "base64" : "utf8");
  if (!verifies(body, event.headers["x-signature"] ?? "")) {
    return answered(401, { type: "/problems/signature-invalid" });
  }
  const message = { QueueUrl: queueUrl, MessageBody: body.toString(), MessageGroupId: groupOf(body) };
  await sqs.send(new SendMessageCommand(message));
  return answered(200, {});
}
