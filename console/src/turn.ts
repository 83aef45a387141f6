// One turn of a conversation, and what a record of its token stream makes of it. Pure: as barnabas/stream_fold.py.

/** `(epoch, try)`: the highest seen of a turn counts, records of a lower one are dropped. */
export interface Attempt {
  epoch: number;
  try: number;
}

export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
}

export interface ToolUse {
  call_id: string;
  name: string;
  arguments?: string | null;
  result?: string | null;
  is_error?: boolean;
}

/** A record of the token stream, as `GET /sessions/{id}/stream` sends it. */
export interface Token {
  turn_id: string;
  message_id: string;
  attempt: Attempt;
  index: number;
  kind: "started" | "delta" | "tool" | "completed" | "failed" | "cancelled" | "superseded";
  occurred_at: number;
  text?: string | null;
  deltas?: number | null;
  cause?: string | null;
  detail?: string | null;
  usage?: Usage | null;
  tool?: ToolUse | null;
}

export interface TextPart {
  kind: "text";
  text: string;
}

export interface ToolPart {
  kind: "tool";
  callId: string;
  name: string;
  arguments: string;
  result: string | null;
  isError: boolean;
}

export type Part = TextPart | ToolPart;

/** `sending`: not confirmed by the gateway; `waiting`: confirmed, behind other turns or before its first token. */
export type TurnState = "sending" | "waiting" | "running" | "completed" | "failed" | "cancelled";

export interface Turn {
  messageId: string;
  turnId: string | null;
  /** What the user said; null while only the token stream is known. */
  user: string | null;
  agent: string;
  parts: readonly Part[];
  state: TurnState;
  attempt: Attempt | null;
  nextIndex: number;
  /** Whether records of the attempt are known to be missing: the end repairs the text. */
  hasGap: boolean;
  cause: string | null;
  detail: string | null;
  startedAt: number | null;
  endedAt: number | null;
  usage: Usage | null;
  /** Whether the user has asked to stop it. */
  isStopping: boolean;
}

const TERMINAL = new Set(["completed", "failed", "cancelled"]);

export function newTurn(messageId: string, given: Partial<Turn> = {}): Turn {
  return {
    messageId,
    turnId: null,
    user: null,
    agent: "",
    parts: [],
    state: "running",
    attempt: null,
    nextIndex: 0,
    hasGap: false,
    cause: null,
    detail: null,
    startedAt: null,
    endedAt: null,
    usage: null,
    isStopping: false,
    ...given,
  };
}

export function hasEnded(turn: Turn): boolean {
  return TERMINAL.has(turn.state);
}

export function textOf(turn: Turn): string {
  return turn.parts.map((part) => (part.kind === "text" ? part.text : "")).join("");
}

function compare(a: Attempt, b: Attempt): number {
  return a.epoch - b.epoch || a.try - b.try;
}

/** Fold a record; returns the same object where it changes nothing: a repeat, or one of an attempt that lost. */
export function applyToken(turn: Turn, token: Token): Turn {
  const order = turn.attempt === null ? 1 : compare(token.attempt, turn.attempt);
  if (order < 0) return turn;
  if (hasEnded(turn)) {
    // A message that was put aside (its attempt has epoch -1) may have been published again. Else an end is an end.
    if (turn.attempt === null || turn.attempt.epoch !== -1 || order === 0) return turn;
  }
  let next: Turn = { ...turn, turnId: token.turn_id, attempt: token.attempt };
  if (order > 0) {
    next = { ...next, state: "running", parts: [], nextIndex: 0, hasGap: false, cause: null, detail: null, endedAt: null };
  }
  next.startedAt ??= token.occurred_at;
  if (TERMINAL.has(token.kind)) return ended(next, token);
  if (token.index < next.nextIndex) return turn;
  next.state = "running";
  next.hasGap ||= token.index > next.nextIndex;
  next.nextIndex = token.index + 1;
  if (token.kind === "delta") next.parts = withText(next.parts, token.text ?? "");
  else if (token.kind === "tool" && token.tool) next.parts = withTool(next.parts, token.tool);
  return next;
}

function ended(turn: Turn, token: Token): Turn {
  const shown = textOf(turn);
  const whole = token.text ?? shown;
  let parts = turn.parts;
  if (whole !== shown) {
    parts = whole.startsWith(shown)
      ? withText(parts, whole.slice(shown.length))
      : withText(parts.filter((part) => part.kind === "tool"), whole);
  }
  return {
    ...turn,
    parts,
    state: token.kind as TurnState,
    hasGap: false,
    isStopping: false,
    cause: token.cause ?? null,
    detail: token.detail ?? null,
    usage: token.usage ?? null,
    endedAt: token.occurred_at,
  };
}

export function withText(parts: readonly Part[], text: string): readonly Part[] {
  if (!text) return parts;
  const last = parts.at(-1);
  if (last?.kind !== "text") return [...parts, { kind: "text", text }];
  return [...parts.slice(0, -1), { kind: "text", text: last.text + text }];
}

export function withTool(parts: readonly Part[], use: ToolUse): readonly Part[] {
  const at = parts.findIndex((part) => part.kind === "tool" && part.callId === use.call_id && part.result === null);
  const known = at < 0 ? null : (parts[at] as ToolPart);
  const part: ToolPart = {
    kind: "tool",
    callId: use.call_id,
    name: use.name,
    arguments: use.arguments ?? known?.arguments ?? "",
    result: use.result ?? null,
    isError: use.is_error ?? false,
  };
  return known === null ? [...parts, part] : parts.with(at, part);
}
