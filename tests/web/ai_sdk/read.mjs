// Reads each of the addresses as useChat does: by the AI SDK's own transport, checks and reducer.
// Writes a line of JSON for each: the chunks, the message that they make, and what went wrong.
import { DefaultChatTransport, readUIMessageStream } from "ai";

for (const api of process.argv.slice(2)) {
  const chunks = [];
  const errors = [];
  let message = null;
  try {
    const stream = await new DefaultChatTransport({ api }).sendMessages({
      trigger: "submit-message",
      chatId: "c",
      messageId: undefined,
      messages: [{ id: "m", role: "user", parts: [{ type: "text", text: "Hi" }] }],
    });
    const [seen, read] = stream.tee();
    const looks = (async () => {
      for await (const chunk of seen) chunks.push(chunk);
    })();
    const onError = (error) => errors.push(error.message);
    for await (const next of readUIMessageStream({ stream: read, onError })) message = next;
    await looks;
  } catch (error) {
    errors.push(`thrown: ${error}`);
  }
  console.log(JSON.stringify({ chunks, message, errors }));
}
