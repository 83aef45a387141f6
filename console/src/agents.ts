// The agents that a message may name.

import { fetchJson } from "./api";

export interface Agent {
  name: string;
  is_default: boolean;
}

export async function fetchAgents(signal: AbortSignal): Promise<readonly Agent[]> {
  return (await fetchJson<{ agents: Agent[] }>("/agents?limit=100", { signal })).agents;
}
