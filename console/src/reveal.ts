// Scrolls what is chosen into view within its own list, never the page: the slider stays under the finger.

export function reveal(element: Element | null | undefined): void {
  let list = element?.closest<HTMLElement>("[data-scrolls]");
  while (list && list.scrollHeight <= list.clientHeight) list = list.parentElement?.closest<HTMLElement>("[data-scrolls]");
  if (!element || !list) return;
  const box = list.getBoundingClientRect();
  const { top, bottom } = element.getBoundingClientRect();
  if (top < box.top) list.scrollTop += top - box.top;
  else if (bottom > box.bottom) list.scrollTop += Math.min(top - box.top, bottom - box.bottom);
}
