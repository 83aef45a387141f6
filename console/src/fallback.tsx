// Something else where a part of the page cannot be shown: the rest of it goes on.

import { Component, type ComponentChild, type ComponentChildren } from "preact";

interface Props {
  children: ComponentChildren;
  instead: ComponentChild;
}

export class Fallback extends Component<Props, { hasFailed: boolean }> {
  override state = { hasFailed: false };

  static override getDerivedStateFromError(): { hasFailed: boolean } {
    return { hasFailed: true };
  }

  override render({ children, instead }: Props): ComponentChild {
    return this.state.hasFailed ? instead : children;
  }
}
