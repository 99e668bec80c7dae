// Lambda's Runtime API with nothing but Node: less than the client in Lambda's own runtime does, whose package needs a C++
// tool chain to be installed. So this peer's figures are rather too good.

import { Agent, request } from "node:http";

const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(":");
const agent = new Agent({ keepAlive: true, maxSockets: 1 });

function call(method, path, body) {
  return new Promise((resolve, reject) => {
    const options = { host, port, agent, method, path: `/2018-06-01/runtime/invocation/${path}` };
    const sent = request(options, (answer) => {
      const parts = [];
      answer.on("data", (part) => parts.push(part));
      answer.on("end", () => resolve({ headers: answer.headers, body: Buffer.concat(parts) }));
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

const { handler } = await import("./intake.mjs");
for (;;) {
  const { headers, body } = await call("GET", "next");
  const id = headers["lambda-runtime-aws-request-id"];
  const answer = await handler(JSON.parse(body), { awsRequestId: id });
  await call("POST", `${id}/response`, JSON.stringify(answer));
}
