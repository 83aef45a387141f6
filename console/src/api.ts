// The gateway's HTTP interface: one place that adds the key and reads problems (RFC 9457).

import { key } from "./key";

/** What the gateway said instead of doing it, or that it did not answer at all (`status` 0). */
export class ApiError extends Error {
  override name = "ApiError";

  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly retryAfterMs: number | null = null,
    readonly body: Record<string, unknown> = {},
  ) {
    super(message);
  }

  /** Whether the same request may succeed later. */
  get isPassing(): boolean {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

export interface Asked {
  method?: string;
  body?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal;
}

/** Send a request and return its response, which is a success; asks the user for a key where one is needed. */
export async function fetchOk(path: string, asked: Asked = {}): Promise<Response> {
  for (;;) {
    const used = key.value;
    const headers: Record<string, string> = { Accept: "application/json", ...asked.headers };
    if (used !== null) headers.Authorization = `Bearer ${used}`;
    if (asked.body !== undefined) headers["Content-Type"] = "application/json";
    let response: Response;
    try {
      response = await fetch(path, {
        method: asked.method ?? "GET",
        headers,
        body: asked.body === undefined ? undefined : JSON.stringify(asked.body),
        signal: asked.signal,
        cache: "no-store",
        credentials: "omit",
      });
    } catch (error) {
      if (asked.signal?.aborted) throw error;
      throw new ApiError(0, "unreachable", "The gateway does not answer.");
    }
    if (response.ok) return response;
    const problem = await problemOf(response);
    if (response.status !== 401) throw problem;
    await key.refused(used, problem.message);
  }
}

export async function fetchJson<T>(path: string, asked: Asked = {}): Promise<T> {
  const response = await fetchOk(path, asked);
  try {
    return (await response.json()) as T;
  } catch (error) {
    if (asked.signal?.aborted) throw error;
    throw new ApiError(0, "unreachable", "The gateway's answer broke off.");
  }
}

async function problemOf(response: Response): Promise<ApiError> {
  let body: Record<string, unknown> = {};
  try {
    body = (await response.json()) as Record<string, unknown>;
  } catch {
    // A proxy's page, say: the status has to do.
  }
  const text = [body.detail, body.title].find((one) => typeof one === "string" && one !== "");
  const after = Number(response.headers.get("Retry-After"));
  return new ApiError(
    response.status,
    typeof body.code === "string" ? body.code : "",
    (text as string | undefined) ?? `The gateway said ${response.status}.`,
    after > 0 ? after * 1000 : null,
    body,
  );
}

/** A path with its variable parts and query escaped. */
export function pathOf(parts: TemplateStringsArray, ...values: string[]): string {
  return parts.reduce((path, part, at) => path + encodeURIComponent(values[at - 1] ?? "") + part);
}

export function withQuery(path: string, query: Record<string, string | number | undefined | null>): string {
  const pairs = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const text = new URLSearchParams(pairs.map(([name, value]) => [name, String(value)])).toString();
  return text ? `${path}?${text}` : path;
}

/** Whether an error only says that the question was withdrawn. */
export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
