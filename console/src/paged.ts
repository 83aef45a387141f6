// A list that comes in pages, each behind the cursor of the one before.

import { useEffect, useRef, useState } from "preact/hooks";

import { isAbort, messageOf } from "./api";

export interface Page<T> {
  items: T[];
  nextCursor: string | null;
}

export interface Paged<T> {
  items: readonly T[];
  hasMore: boolean;
  isLoading: boolean;
  problem: string | null;
  more(): void;
  again(): void;
}

/** So many pages without anything are passed over by themselves. */
const EMPTY_PAGES = 20;

/** Load the first page of the list that `name` stands for that has anything in it, and others on demand. */
export function usePaged<T>(name: string, ask: (cursor: string | null, signal: AbortSignal) => Promise<Page<T>>): Paged<T> {
  const [items, setItems] = useState<readonly T[]>([]);
  const [next, setNext] = useState<string | null>(null);
  const [isLoading, setLoading] = useState(true);
  const [problem, setProblem] = useState<string | null>(null);
  const [count, setCount] = useState(0);
  const abort = useRef<AbortController | null>(null);
  const latest = useRef(ask);
  latest.current = ask;

  const load = async (cursor: string | null): Promise<void> => {
    abort.current?.abort();
    const mine = new AbortController();
    abort.current = mine;
    setLoading(true);
    try {
      let page = await latest.current(cursor, mine.signal);
      for (let passed = 0; passed < EMPTY_PAGES && page.items.length === 0 && page.nextCursor !== null; passed++) {
        page = await latest.current(page.nextCursor, mine.signal);
      }
      if (mine.signal.aborted) return;
      setItems((before) => (cursor === null ? page.items : [...before, ...page.items]));
      setNext(page.nextCursor);
      setProblem(null);
    } catch (error) {
      if (isAbort(error) || mine.signal.aborted) return;
      setProblem(messageOf(error));
      if (cursor === null) setItems([]);
    }
    setLoading(false);
  };

  useEffect(() => {
    void load(null);
    return () => abort.current?.abort();
  }, [name, count]);

  return {
    items,
    hasMore: next !== null,
    isLoading,
    problem,
    more: () => void load(next),
    again: () => setCount((value) => value + 1),
  };
}
