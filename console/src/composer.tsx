// Where the user writes: Enter sends, Shift+Enter begins a line, Esc stops.

import type { RefObject } from "preact";
import { useLayoutEffect, useState } from "preact/hooks";

import type { Agent } from "./agents";
import { SendIcon, StopIcon } from "./icons";

interface Props {
  field: RefObject<HTMLTextAreaElement | null>;
  agents: readonly Agent[];
  isRunning: boolean;
  isStopping: boolean;
  onSend(text: string, agent: string | null): void;
  onStop(): void;
}

const TALLEST_PX = 220;

export function Composer({ field, agents, isRunning, isStopping, onSend, onStop }: Props) {
  const [text, setText] = useState("");
  const [agent, setAgent] = useState("");

  useLayoutEffect(() => {
    const element = field.current;
    if (element === null) return;
    element.style.height = "auto"; // through the object model: the policy is about markup
    element.style.height = `${Math.min(element.scrollHeight, TALLEST_PX)}px`;
  }, [text]);

  const send = (): void => {
    if (!text.trim()) return;
    onSend(text, agent || null);
    setText("");
    field.current?.focus();
  };

  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    send();
  };

  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <label class="unseen" for="message">
        Message
      </label>
      <textarea
        id="message"
        ref={field}
        rows={1}
        value={text}
        placeholder="Write a message"
        aria-describedby="keys"
        onInput={(event) => setText(event.currentTarget.value)}
        onKeyDown={onKeyDown}
      />
      <div class="composer-bar">
        {agents.length > 1 && (
          <select aria-label="Agent" value={agent} onChange={(event) => setAgent(event.currentTarget.value)}>
            {agents.map(({ name, is_default }) => (
              <option key={name} value={is_default ? "" : name}>
                {name}
              </option>
            ))}
          </select>
        )}
        <span class="keys" id="keys">
          <kbd>Enter</kbd> sends, <kbd>Shift</kbd> <kbd>Enter</kbd> begins a line, <kbd>Esc</kbd> stops
        </span>
        {isRunning && (
          <button type="button" class="stop" onClick={onStop} disabled={isStopping} aria-label="Stop the answer">
            <StopIcon />
            <span>{isStopping ? "Stopping" : "Stop"}</span>
          </button>
        )}
        <button type="submit" class="send" disabled={!text.trim()} aria-label="Send">
          <SendIcon />
        </button>
      </div>
    </form>
  );
}
