// A line of the last values, drawn with attributes only; said in words beside it.

interface Props {
  values: readonly (number | null)[];
  /** How many fit. */
  room: number;
}

const HEIGHT = 40;

export function Sparkline({ values, room }: Props) {
  const known = values.map((value, at) => [room - values.length + at, value] as const).filter((point): point is readonly [number, number] => point[1] !== null);
  const top = Math.max(1e-9, ...known.map(([, value]) => value));
  const points = known.map(([at, value]) => `${at},${(HEIGHT - 2 - (value / top) * (HEIGHT - 4)).toFixed(1)}`);
  if (points.length < 2) return <svg class="spark" aria-hidden="true" />;
  const first = known[0]![0];
  const last = known.at(-1)![0];
  return (
    <svg class="spark" viewBox={`0 0 ${room - 1} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">
      <path class="under" d={`M${first},${HEIGHT}L${points.join("L")}L${last},${HEIGHT}Z`} />
      <path d={`M${points.join("L")}`} />
    </svg>
  );
}

/** A share of the longest, for a table. */
export function Bar({ value, longest }: { value: number; longest: number }) {
  const width = longest > 0 ? Math.max(value > 0 ? 1 : 0, (value / longest) * 100) : 0;
  return (
    <svg class="bar" viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">
      <rect width={width} height="4" />
    </svg>
  );
}
