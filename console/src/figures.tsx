// Live figures: turns, time to first token, and where each partition stands.

import { useEffect, useState } from "preact/hooks";

import { fetchFigures, type Figures as Shown } from "./fetched_figures";
import { usePolled } from "./loading";
import { Bar, Sparkline } from "./sparkline";
import { count, duration } from "./time";

const EVERY_MS = 2_000;
const ROOM = 60;

type Point = Pick<Shown, "turnsPerS" | "tokensPerS" | "firstTokenMs" | "lag">;

function rate(value: number): string {
  return value < 10 ? value.toFixed(1) : count(Math.round(value));
}

export function Figures() {
  const { data, problem } = usePolled(EVERY_MS, fetchFigures);
  const [past, setPast] = useState<readonly Point[]>([]);
  useEffect(() => {
    if (data !== null) setPast((before) => [...before, data].slice(-ROOM));
  }, [data]);
  const longest = Math.max(0, ...(data?.partitions.map((one) => one.lag) ?? []));

  return (
    <section class="page" aria-labelledby="title">
      <header class="page-head">
        <h1 id="title" tabIndex={-1}>
          Figures
        </h1>
        <span class="muted">{data ? `the last ${Math.round(data.windowS)} s, every ${EVERY_MS / 1000} s` : ""}</span>
      </header>
      {problem && (
        <p class="problem" role="alert">
          {problem}
        </p>
      )}
      {data?.problems.map((text) => (
        <p key={text} class="problem">
          {text}
        </p>
      ))}
      {data && (
        <>
          <div class="tiles">
            <div class="tile">
              <h2>Turns per second</h2>
              <p class="tile-value" data-figure="turns">
                {rate(data.turnsPerS)}
              </p>
              <p class="muted">{count(data.inFlight)} running</p>
              <Sparkline values={past.map((one) => one.turnsPerS)} room={ROOM} />
            </div>
            <div class="tile">
              <h2>Time to first token</h2>
              <p class="tile-value" data-figure="first-token">
                {data.firstTokenMs === null ? "–" : duration(data.firstTokenMs)}
                <small>{data.firstTokenMs === null ? "no turns" : "median"}</small>
              </p>
              <p class="muted">{data.firstTokenSlowMs === null ? "" : `${duration(data.firstTokenSlowMs)} at the 99th percentile`}</p>
              <Sparkline values={past.map((one) => one.firstTokenMs)} room={ROOM} />
            </div>
            <div class="tile">
              <h2>Tokens per second</h2>
              <p class="tile-value">{rate(data.tokensPerS)}</p>
              <p class="muted">written by models</p>
              <Sparkline values={past.map((one) => one.tokensPerS)} room={ROOM} />
            </div>
            <div class="tile">
              <h2>Lag</h2>
              <p class="tile-value" data-figure="lag">
                {count(data.lag)}
                <small>messages</small>
              </p>
              <p class="muted">{count(data.deadLetters)} dead {data.deadLetters === 1 ? "letter" : "letters"}</p>
              <Sparkline values={past.map((one) => one.lag)} room={ROOM} />
            </div>
          </div>
          <h2 class="section-head">Lag by partition</h2>
          <table class="list">
            <thead>
              <tr>
                <th scope="col">Partition</th>
                <th scope="col">Phase</th>
                <th scope="col">Worker</th>
                <th scope="col" class="number">
                  Sessions at work
                </th>
                <th scope="col" class="number">
                  Oldest
                </th>
                <th scope="col" class="number">
                  Lag
                </th>
                <th scope="col">
                  <span class="unseen">Share of the longest</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {data.partitions.map((one) => (
                <tr key={one.partition} data-partition={one.partition}>
                  <th scope="row" data-label="Partition">
                    {one.partition}
                  </th>
                  <td data-label="Phase">
                    <span class={`state is-${one.phase}`}>{one.phase}</span>
                  </td>
                  <td data-label="Worker">{one.worker}</td>
                  <td data-label="Sessions at work" class="number">
                    {count(one.lanes)}
                  </td>
                  <td data-label="Oldest" class="number">
                    {one.oldest_s > 0 ? duration(one.oldest_s * 1000) : "–"}
                  </td>
                  <td data-label="Lag" class="number">
                    {count(one.lag)}
                  </td>
                  <td class="wide">
                    <Bar value={one.lag} longest={longest} />
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </>
      )}
      {!data && !problem && <p class="nothing">Loading…</p>}
    </section>
  );
}
