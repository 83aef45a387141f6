// A session's value: what the next turn would read.

import { Markdown } from "./markdown";
import { clock, count } from "./time";
import type { Usage } from "./turn";

interface Memory {
  id: string;
  timestamp: number;
  role: string;
  text: string;
  turn_id: string;
}

export interface Session {
  session_id: string;
  agent: string;
  created_at: number;
  updated_at: number;
  folded: number;
  epoch: number;
  memory: Memory[];
  summary: string;
  turns: number;
  usage: Usage;
  open_turn: { text: string; agent: string; wait_for: string | null; tools: { name: string }[] } | null;
  queued: number;
}

export function MemoryView({ session, turnId }: { session: Session; turnId: string | null }) {
  const { usage } = session;
  return (
    <>
      <dl class="facts">
        <div>
          <dt>turns</dt>
          <dd>{count(session.turns)}</dd>
        </div>
        <div>
          <dt>entries</dt>
          <dd>{count(session.memory.length)}</dd>
        </div>
        <div>
          <dt>tokens read</dt>
          <dd>{count(usage.prompt_tokens)}</dd>
        </div>
        <div>
          <dt>tokens written</dt>
          <dd>{count(usage.completion_tokens)}</dd>
        </div>
        <div>
          <dt>epoch</dt>
          <dd>{session.epoch < 0 ? "none" : count(session.epoch)}</dd>
        </div>
      </dl>
      {session.summary && (
        <blockquote class="summary">
          <h3>Summary of what was let go</h3>
          {session.summary}
        </blockquote>
      )}
      <ol class="entries">
        {session.memory.map((entry) => (
          <li key={entry.id} class={`entry is-${entry.role} ${entry.turn_id === turnId ? "is-of-event" : ""}`}>
            <header>
              <span>{entry.role}</span>
              <span class="muted">
                {Number(entry.id)}, {clock(entry.timestamp)}
              </span>
            </header>
            {entry.role === "user" ? <p class="plain">{entry.text}</p> : <Markdown text={entry.text} />}
          </li>
        ))}
      </ol>
      {session.open_turn && (
        <div class="entry is-open is-of-event">
          <header>
            <span>{session.open_turn.wait_for === null ? "open turn" : "waits for a person"}</span>
            <span class="muted">
              {session.open_turn.agent}
              {session.open_turn.tools.map((tool) => `, ${tool.name}`).join("")}
            </span>
          </header>
          <p class="plain">{session.open_turn.text}</p>
        </div>
      )}
      {session.memory.length === 0 && !session.open_turn && <p class="nothing">Nothing is remembered here.</p>}
    </>
  );
}
