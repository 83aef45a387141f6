// An event in a line.

import type { LoggedEvent } from "./log";
import { count } from "./time";

const LONGEST = 140;

function short(text: string | undefined): string {
  const line = (text ?? "").replace(/\s+/g, " ").trim();
  return line.length > LONGEST ? `${line.slice(0, LONGEST - 1)}…` : line;
}

export function describe(event: LoggedEvent): string {
  switch (event.type) {
    case "TurnStarted":
      return short(event.text);
    case "StepCompleted":
      return short(event.text) || "asks for tools";
    case "ToolCalled":
      return short(`${event.call?.name ?? ""} ${event.call?.arguments ?? ""}`);
    case "ToolReturned":
      return short(event.result);
    case "TurnCompleted":
      return short(event.text);
    case "TurnCancelled":
      return short([event.reason, event.text].filter(Boolean).join(": "));
    case "TurnFailed":
      return short(`${event.cause ?? ""}: ${event.detail ?? ""}`);
    case "MessageRejected":
      return short(`${event.reason ?? ""}: ${event.detail ?? ""}`);
    case "MemoryCompacted":
      return `what lies before ${count(Number(event.dropped_until ?? 0))} leaves the memory`;
    case "SessionErased":
      return short(event.reason) || "the memory is emptied";
    case "PartitionOpened":
      return `by ${event.owner ?? "?"}`;
    default:
      return short(event.error ?? event.text);
  }
}
