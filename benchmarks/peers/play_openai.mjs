// One report, played to openai-node: jobs in, outcomes out, a line each; see reported/ours.py.
// The argument is the folder in which npm has installed it.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const { OpenAI } = createRequire(`${process.argv[2]}/`)("openai");
const ASKED = {
  chat: { messages: [{ role: "user", content: "Hi" }] },
  completions: { prompt: "Hi" },
  responses: { input: "Hi" },
};

async function asked(client, { endpoint, stream }, body, outcome) {
  const resource = endpoint === "chat" ? client.chat.completions : client[endpoint];
  if (!stream) return await resource.create(body);
  if (endpoint === "chat") {
    const runner = resource.stream(body);
    runner.on("content", (delta) => (outcome.text += delta));
    return await runner.finalChatCompletion();
  }
  if (endpoint === "responses") {
    const runner = resource.stream(body);
    runner.on("response.output_text.delta", (event) => (outcome.text += event.delta));
    return await runner.finalResponse();
  }
  return await summed(await resource.create({ ...body, stream: true }), outcome);
}

// Text completions have no accumulator: what a program would write by hand.
async function summed(chunks, outcome) {
  const whole = { choices: [] };
  for await (const chunk of chunks) {
    if (chunk.usage) whole.usage = chunk.usage;
    for (const choice of chunk.choices) {
      const held = (whole.choices[choice.index] ??= { index: choice.index, text: "" });
      held.text += choice.text ?? "";
      held.finish_reason = choice.finish_reason || held.finish_reason;
      if (choice.index === 0) outcome.text += choice.text ?? "";
    }
  }
  return whole;
}

async function play(job) {
  if (job.endpoint === "any") return { unplayed: true };
  const outcome = { text: "" };
  try {
    const client = new OpenAI({
      apiKey: "sk-test",
      baseURL: job.url,
      maxRetries: job.retries,
      timeout: 5000,
    });
    const whole = await asked(client, job, { model: "m", ...ASKED[job.endpoint], ...job.body }, outcome);
    if (typeof whole !== "object") throw new TypeError(`${typeof whole} in place of an object`);
    outcome.whole = whole;
  } catch (error) {
    const own = error instanceof OpenAI.OpenAIError;
    outcome.error = { class: error?.constructor?.name ?? "none", own, said: String(error?.message) };
  }
  return outcome;
}

process.on("unhandledRejection", () => {});
for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await play(JSON.parse(line)))}\n`);
}
