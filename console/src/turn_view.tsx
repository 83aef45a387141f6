// One turn: what the user said, what was answered, the tools called in between, and how it ended.

import { Fallback } from "./fallback";
import { ToolIcon } from "./icons";
import { Markdown } from "./markdown";
import { memo } from "./memo";
import { clock, count, duration, wholeMoment } from "./time";
import { hasEnded, textOf, type ToolPart, type Turn } from "./turn";

/** JSON laid out for people; as it is where it is none. */
function pretty(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

function oneLine(text: string): string {
  const line = text.replace(/\s+/g, " ").trim();
  return line === "{}" ? "" : line;
}

const ToolCall = memo(({ part, isOver }: { part: ToolPart; isOver: boolean }) => {
  const state = part.result === null ? (isOver ? "no result" : "running") : part.isError ? "failed" : "done";
  return (
    <details class={`tool ${part.isError ? "is-error" : ""}`}>
      <summary>
        <ToolIcon />
        <span class="tool-name">{part.name}</span>
        <span class="tool-arguments">{oneLine(part.arguments)}</span>
        <span class={`tool-state ${state === "running" ? "is-running" : ""}`}>{state}</span>
      </summary>
      <div class="tool-body">
        <h4>Arguments</h4>
        <pre tabIndex={0}>{pretty(part.arguments)}</pre>
        {part.result !== null && (
          <>
            <h4>{part.isError ? "Error" : "Result"}</h4>
            <pre tabIndex={0}>{pretty(part.result)}</pre>
          </>
        )}
      </div>
    </details>
  );
});

const WORDS: Partial<Record<Turn["state"], string>> = {
  sending: "Sending…",
  waiting: "Waiting for its turn…",
};

function Footer({ turn }: { turn: Turn }) {
  const facts: string[] = [];
  if (turn.agent) facts.push(turn.agent);
  if (turn.endedAt !== null && turn.startedAt !== null) facts.push(duration(Math.max(0, turn.endedAt - turn.startedAt)));
  if (turn.usage && turn.usage.completion_tokens > 0) facts.push(`${count(turn.usage.completion_tokens)} tokens`);
  return (
    <footer class="turn-facts">
      {turn.endedAt !== null && (
        <time dateTime={new Date(turn.endedAt).toISOString()} title={wholeMoment(turn.endedAt)}>
          {clock(turn.endedAt)}
        </time>
      )}
      {facts.map((fact) => (
        <span key={fact}>{fact}</span>
      ))}
    </footer>
  );
}

/** A turn; one that cannot be shown, whatever is wrong with it, as the text that it has. */
export const TurnView = memo(({ turn }: { turn: Turn }) => (
  <Fallback
    instead={
      <article class="turn" data-message={turn.messageId} data-state={turn.state}>
        <div class="said">{String(turn.user ?? "…")}</div>
        <div class="answer">
          <p class="note">This answer cannot be laid out.</p>
          <p class="plain">{textOf(turn)}</p>
        </div>
      </article>
    }
  >
    <LaidOut turn={turn} />
  </Fallback>
));

function LaidOut({ turn }: { turn: Turn }) {
  const isOver = hasEnded(turn);
  const lastText = turn.parts.findLastIndex((part) => part.kind === "text");
  return (
    <article class={`turn is-${turn.state}`} data-message={turn.messageId} data-state={turn.state}>
      <h2 class="unseen">You</h2>
      <div class="said">{turn.user ?? <span class="muted">…</span>}</div>
      <h2 class="unseen">Answer</h2>
      <div class="answer" aria-busy={!isOver}>
        {turn.hasGap && !isOver && <p class="note">This answer began before you came. It will be whole at its end.</p>}
        {turn.parts.map((part, at) =>
          part.kind === "tool" ? (
            <ToolCall key={at} part={part} isOver={isOver} />
          ) : (
            <Markdown key={at} text={part.text} isGrowing={!isOver && at === lastText} />
          ),
        )}
        {!isOver && (
          <p class="progress" role="status">
            <span class="pulse" aria-hidden="true">
              <i />
              <i />
              <i />
            </span>
            <span class={turn.parts.length || turn.state === "running" ? "unseen" : ""}>
              {turn.isStopping ? "Stopping…" : (WORDS[turn.state] ?? "Answering…")}
            </span>
          </p>
        )}
        {turn.state === "failed" && (
          <p class="outcome is-bad">
            <strong>Not answered</strong> {turn.detail || turn.cause}
            {turn.detail && turn.cause ? <code>{turn.cause}</code> : null}
          </p>
        )}
        {turn.state === "cancelled" && <p class="outcome">Stopped{turn.detail && turn.detail !== "cancelled" ? `: ${turn.detail}` : ""}</p>}
      </div>
      {isOver && <Footer turn={turn} />}
    </article>
  );
}
