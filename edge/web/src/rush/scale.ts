// Where a value stands in a chart, from 0 (the floor) to 1, and which lines help the eye.

export interface Scale {
  place(value: number): number;
  readonly ticks: readonly number[];
}

/** Even steps up to a whole. */
export function linear(most: number): Scale {
  const top = Math.max(most, 1);
  return { place: (value) => clamp(value / top), ticks: [0, top / 2, top].filter(Number.isInteger) };
}

/**
 * Each step ten times the one below, and nothing at the floor: a rush refuses a hundred for each
 * whom it admits, and both are to be seen.
 */
export function decades(most: number): Scale {
  const steps = Math.max(2, Math.ceil(Math.log10(Math.max(most, 1))));
  const top = Math.log10(1 + 10 ** steps);
  const ticks = Array.from({ length: steps + 1 }, (_, step) => 10 ** step);
  return { place: (value) => clamp(Math.log10(1 + Math.max(value, 0)) / top), ticks };
}

function clamp(share: number): number {
  return Math.min(Math.max(share, 0), 1);
}
