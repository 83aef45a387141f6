// Asks for the key where the gateway wants one.

import { useEffect, useRef, useState } from "preact/hooks";

import { key } from "./key";
import { useObserved } from "./observable";

export function KeyDialog() {
  const { asks } = useObserved(key);
  const dialog = useRef<HTMLDialogElement>(null);
  const [value, setValue] = useState("");

  useEffect(() => {
    const element = dialog.current;
    if (element === null) return;
    if (asks !== null && !element.open) element.showModal();
    if (asks === null && element.open) element.close();
  }, [asks]);

  return (
    <dialog ref={dialog} aria-labelledby="key-title" onCancel={(event) => event.preventDefault()}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (value.trim()) key.give(value.trim());
          setValue("");
        }}
      >
        <h2 id="key-title">This gateway asks who you are</h2>
        <p class="muted">
          An API key, or a token of your identity provider. It is kept until this tab is closed, and is sent to this
          gateway alone.
        </p>
        <label for="key">Key</label>
        <input id="key" type="password" autocomplete="off" spellcheck={false} value={value} onInput={(event) => setValue(event.currentTarget.value)} />
        {asks && (
          <p class="problem" role="alert">
            {asks}
          </p>
        )}
        <button type="submit" class="primary" disabled={!value.trim()}>
          Go on
        </button>
      </form>
    </dialog>
  );
}
