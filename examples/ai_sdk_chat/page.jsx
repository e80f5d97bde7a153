// A chat page with the AI SDK's own useChat; ai_sdk_chat.py answers it.
import { useChat } from "@ai-sdk/react";
import { DefaultChatTransport } from "ai";
import { useState } from "react";
import { createRoot } from "react-dom/client";

// The chat's id is in the address, so that a page that is reloaded finds its answer again.
location.hash ||= crypto.randomUUID();
const id = location.hash.slice(1);
const post = (where) => fetch(`/api/chat/${id}/${where}`, { method: "POST" });

function Part({ part }) {
  if (part.type === "text") return <span>{part.text}</span>;
  if (part.type === "reasoning") return <em>{part.text}</em>;
  if (part.type.startsWith("tool-"))
    return (
      <code className={part.state}>
        {part.type.slice(5)}({JSON.stringify(part.input)})
      </code>
    );
  return null;
}

function Chat() {
  const [question, setQuestion] = useState("");
  const [failure, setFailure] = useState(null);
  const { messages, sendMessage, status, error } = useChat({
    id,
    resume: true,
    transport: new DefaultChatTransport({ api: "/api/chat" }),
    onData: ({ type, data }) => type === "data-error" && setFailure(data),
  });
  const running = status === "submitted" || status === "streaming";
  const ask = (event) => {
    event.preventDefault();
    setFailure(null);
    sendMessage({ text: question });
    setQuestion("");
  };
  return (
    <main data-status={status}>
      {messages.map(({ id, role, parts }) => (
        <p key={id} className={role}>
          {parts.map((part, place) => (
            <Part key={place} part={part} />
          ))}
        </p>
      ))}
      {error && (
        <p role="alert" data-type={failure?.type}>
          {error.message}
        </p>
      )}
      <form onSubmit={ask}>
        <input value={question} onChange={(e) => setQuestion(e.target.value)} aria-label="Question" />
        {/* useChat's own stop() only stops reading: the server is told here. */}
        <button type={running ? "button" : "submit"} onClick={() => running && post("stop")}>
          {running ? "Stop" : "Ask"}
        </button>
      </form>
    </main>
  );
}

createRoot(document.getElementById("root")).render(<Chat />);
