// A component that is rendered again only where its properties differ.

import { Component, type ComponentChild, type ComponentType, createElement } from "preact";

function isSame<P extends object>(one: P, other: P): boolean {
  const names = Object.keys(one) as (keyof P)[];
  return names.length === Object.keys(other).length && names.every((name) => one[name] === other[name]);
}

export function memo<P extends object>(render: (props: P) => ComponentChild, same: (one: P, other: P) => boolean = isSame): ComponentType<P> {
  return class Memo extends Component<P> {
    override shouldComponentUpdate(next: P): boolean {
      return !same(this.props as P, next);
    }

    override render(): ComponentChild {
      return createElement(render, this.props as P);
    }
  };
}
