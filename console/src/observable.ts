// The one way state reaches components: an object that says when it has changed.

import { useEffect, useState } from "preact/hooks";

export class Observable {
  readonly #listeners = new Set<() => void>();

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  protected changed(): void {
    for (const listener of [...this.#listeners]) listener();
  }
}

/** Render again whenever `observed` changes. */
export function useObserved<T extends Observable>(observed: T): T {
  const [, setCount] = useState(0);
  useEffect(() => {
    const again = (): void => setCount((count) => count + 1);
    again(); // it may have changed between rendering and here
    return observed.subscribe(again);
  }, [observed]);
  return observed;
}
