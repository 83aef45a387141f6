// A conversation as the event log tells it: turns out of a session's events, in their order.

import { type Attempt, newTurn, textOf, type Turn, type Usage, withText, withTool } from "./turn";

/** An event of the log with its place; of the fields of the kinds, those that are read here. */
export interface LoggedEvent {
  partition: number;
  offset: number;
  timestamp_ms: number;
  verdict: string;
  type?: string;
  error?: string | null;
  turn_id?: string;
  message_id?: string;
  occurred_at?: number;
  attempt?: Attempt;
  text?: string;
  agent?: string;
  model?: string;
  step?: number;
  call?: { call_id: string; name: string; arguments: string };
  call_id?: string;
  result?: string;
  is_error?: boolean;
  cause?: string;
  detail?: string;
  reason?: string;
  usage?: Usage;
  owner?: string;
  [field: string]: unknown;
}

/** Fold events, oldest first, into turns. Rejected ones did not happen. */
export function turnsOf(events: Iterable<LoggedEvent>): Turn[] {
  const turns = new Map<string, Turn>();
  for (const event of events) {
    if (event.verdict !== "accepted") continue;
    if (event.type === "SessionErased") turns.clear();
    const id = event.message_id;
    if (id === undefined) continue;
    if (event.type === "TurnStarted") {
      turns.set(id, { ...begun(event, turns.get(id)) });
      continue;
    }
    const turn = turns.get(id);
    if (turn !== undefined) turns.set(id, applied(turn, event));
    else if (event.type === "MessageRejected") turns.set(id, applied(begun(event, undefined), event));
  }
  return [...turns.values()];
}

function begun(event: LoggedEvent, known: Turn | undefined): Turn {
  // A later attempt goes on behind the last step: what was folded stays.
  return {
    ...(known ?? newTurn(event.message_id ?? "")),
    turnId: event.turn_id ?? null,
    user: event.text ?? known?.user ?? null,
    agent: event.agent ?? "",
    startedAt: known?.startedAt ?? event.occurred_at ?? null,
  };
}

function applied(turn: Turn, event: LoggedEvent): Turn {
  switch (event.type) {
    case "StepCompleted":
      return { ...turn, parts: withText(turn.parts, event.text ?? "") };
    case "ToolCalled":
      return event.call ? { ...turn, parts: withTool(turn.parts, event.call) } : turn;
    case "ToolReturned": {
      const called = turn.parts.find((part) => part.kind === "tool" && part.callId === event.call_id && !part.result);
      const name = called?.kind === "tool" ? called.name : "tool";
      return {
        ...turn,
        parts: withTool(turn.parts, {
          call_id: event.call_id ?? "",
          name,
          result: event.result ?? "",
          is_error: event.is_error ?? false,
        }),
      };
    }
    case "TurnCompleted":
      return { ...ended(turn, event, "completed"), usage: event.usage ?? null };
    case "TurnCancelled":
      return { ...ended(turn, event, "cancelled"), detail: event.reason ?? null };
    case "TurnFailed":
      return { ...ended({ ...turn }, { ...event, text: undefined }, "failed"), cause: event.cause ?? null, detail: event.detail ?? null };
    case "MessageRejected":
      return { ...ended(turn, { ...event, text: undefined }, "failed"), cause: event.reason ?? null, detail: event.detail ?? null };
    default:
      return turn;
  }
}

function ended(turn: Turn, event: LoggedEvent, state: "completed" | "failed" | "cancelled"): Turn {
  const shown = textOf(turn);
  const whole = event.text ?? shown;
  const parts = whole.startsWith(shown)
    ? withText(turn.parts, whole.slice(shown.length))
    : withText(turn.parts.filter((part) => part.kind === "tool"), whole);
  return { ...turn, parts, state, attempt: event.attempt ?? null, endedAt: event.occurred_at ?? null };
}
