// What `GET /figures` says, as the page shows it.

import { fetchJson } from "./api";

interface Answer {
  window_s: number;
  turns_per_s: number;
  tokens_per_s: number;
  time_to_first_token: { p50: number | null; p99: number | null };
  turns_in_flight: number;
  dead_letters: number;
  lag: number;
  partitions: PartitionFigures[];
  unowned: number[];
  workers: { worker: string; problems: string[]; is_recovering: boolean; recovery_records: number; recovery_records_read: number }[];
  silent: string[];
}

export interface PartitionFigures {
  partition: number;
  worker: string;
  phase: string;
  lanes: number;
  lag: number;
  oldest_s: number;
}

export interface Figures {
  windowS: number;
  turnsPerS: number;
  tokensPerS: number;
  firstTokenMs: number | null;
  firstTokenSlowMs: number | null;
  inFlight: number;
  deadLetters: number;
  lag: number;
  /** Those without an owner, too: their phase is `unowned`, and nobody knows their lag. */
  partitions: PartitionFigures[];
  problems: string[];
}

export async function fetchFigures(signal: AbortSignal): Promise<Figures> {
  const answer = await fetchJson<Answer>("/figures", { signal });
  const { p50, p99 } = answer.time_to_first_token;
  const unowned = answer.unowned.map((partition) => ({ partition, worker: "", phase: "unowned", lanes: 0, lag: 0, oldest_s: 0 }));
  return {
    windowS: answer.window_s,
    turnsPerS: answer.turns_per_s,
    tokensPerS: answer.tokens_per_s,
    firstTokenMs: p50 === null ? null : p50 * 1000,
    firstTokenSlowMs: p99 === null ? null : p99 * 1000,
    inFlight: answer.turns_in_flight,
    deadLetters: answer.dead_letters,
    lag: answer.lag,
    partitions: [...answer.partitions, ...unowned].sort((one, other) => one.partition - other.partition),
    problems: [
      ...answer.silent.map((name) => `Worker ${name} does not answer.`),
      ...answer.workers.flatMap((one) => one.problems.map((text) => `${one.worker}: ${text}`)),
      ...answer.workers
        .filter((one) => one.is_recovering)
        .map((one) => `${one.worker} recovers: ${one.recovery_records_read} of ${one.recovery_records} records read.`),
    ],
  };
}
