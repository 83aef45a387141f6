// The list of sessions.

import { useEffect, useState } from "preact/hooks";

import { type Agent, fetchAgents } from "./agents";
import { fetchJson, withQuery } from "./api";
import { type Page, usePaged } from "./paged";
import { linkTo } from "./router";
import { ago, count, wholeMoment } from "./time";

interface SessionSummary {
  session_id: string;
  state: string;
  agent: string;
  created_at: number;
  updated_at: number;
  turns: number;
  memories: number;
  usage: { prompt_tokens: number; completion_tokens: number };
}

interface SessionPage {
  sessions: SessionSummary[];
  next_cursor: string | null;
  has_more: boolean;
}

const PAGE = 50;
const STATES = ["idle", "running", "suspended"];
const SPANS: readonly [string, string][] = [
  ["last hour", "-1h"],
  ["last day", "-1d"],
  ["last week", "-7d"],
];

export function Sessions() {
  const [agent, setAgent] = useState("");
  const [state, setState] = useState("");
  const [span, setSpan] = useState("");
  const [agents, setAgents] = useState<readonly Agent[]>([]);
  const [name, setName] = useState("");

  useEffect(() => {
    const abort = new AbortController();
    void fetchAgents(abort.signal).then(setAgents, () => undefined);
    return () => abort.abort();
  }, []);

  const list = usePaged<SessionSummary>(`${agent}|${state}|${span}`, async (cursor, signal): Promise<Page<SessionSummary>> => {
    const page = await fetchJson<SessionPage>(withQuery("/sessions", { limit: PAGE, cursor, agent, state, since: span }), { signal });
    return { items: page.sessions, nextCursor: page.has_more ? page.next_cursor : null };
  });

  return (
    <section class="page" aria-labelledby="title">
      <header class="page-head">
        <h1 id="title" tabIndex={-1}>
          Sessions
        </h1>
        <button type="button" class="quiet" onClick={list.again}>
          Refresh
        </button>
      </header>
      <div class="filters">
        <label>
          Agent
          <select value={agent} onChange={(event) => setAgent(event.currentTarget.value)}>
            <option value="">any</option>
            {agents.map(({ name: one }) => (
              <option key={one} value={one}>
                {one}
              </option>
            ))}
          </select>
        </label>
        <label>
          State
          <select value={state} onChange={(event) => setState(event.currentTarget.value)}>
            <option value="">any</option>
            {STATES.map((one) => (
              <option key={one} value={one}>
                {one}
              </option>
            ))}
          </select>
        </label>
        <label>
          Changed
          <select value={span} onChange={(event) => setSpan(event.currentTarget.value)}>
            <option value="">at any time</option>
            {SPANS.map(([label, back]) => (
              <option key={back} value={back}>
                {label}
              </option>
            ))}
          </select>
        </label>
        <form
          class="go"
          onSubmit={(event) => {
            event.preventDefault();
            if (name.trim()) location.hash = linkTo.session(name.trim());
          }}
        >
          <label>
            By id
            <input value={name} placeholder="session id" onInput={(event) => setName(event.currentTarget.value)} />
          </label>
          <button type="submit">Open</button>
        </form>
      </div>
      {list.problem && (
        <p class="problem" role="alert">
          {list.problem}
        </p>
      )}
      <table class="list" aria-busy={list.isLoading}>
        <thead>
          <tr>
            <th scope="col">Session</th>
            <th scope="col">State</th>
            <th scope="col">Agent</th>
            <th scope="col" class="number">
              Turns
            </th>
            <th scope="col" class="number">
              Tokens
            </th>
            <th scope="col" class="number">
              Changed
            </th>
          </tr>
        </thead>
        <tbody>
          {list.items.map((session) => (
            <tr key={session.session_id}>
              <th scope="row" data-label="Session">
                <a href={linkTo.session(session.session_id)}>{session.session_id}</a>
              </th>
              <td data-label="State">
                <span class={`state is-${session.state}`}>{session.state}</span>
              </td>
              <td data-label="Agent">{session.agent}</td>
              <td data-label="Turns" class="number">
                {count(session.turns)}
              </td>
              <td data-label="Tokens" class="number">
                {count(session.usage.prompt_tokens + session.usage.completion_tokens)}
              </td>
              <td data-label="Changed" class="number">
                <time dateTime={new Date(session.updated_at).toISOString()} title={wholeMoment(session.updated_at)}>
                  {ago(session.updated_at)}
                </time>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {!list.isLoading && list.items.length === 0 && !list.problem && (
        <p class="nothing">{list.hasMore ? "No session so far is like that." : "No session is like that."}</p>
      )}
      <div class="more">
        {list.hasMore && (
          <button type="button" onClick={list.more} disabled={list.isLoading}>
            Show more
          </button>
        )}
        <span class="muted" role="status">
          {list.isLoading ? "Loading…" : `${count(list.items.length)} shown`}
        </span>
      </div>
    </section>
  );
}
