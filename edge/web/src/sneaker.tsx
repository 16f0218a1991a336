// The goods, drawn: no picture is loaded from anywhere. Colours come from the variant's, else from
// the product's id, so that each pair looks like itself on every page.

const NAMED: Readonly<Record<string, string>> = {
  black: "#27272a",
  white: "#f1f1ec",
  red: "#c2412d",
  blue: "#2b5fc7",
  green: "#2f7d54",
  grey: "#8a8f98",
  gray: "#8a8f98",
  pink: "#d77a9a",
  yellow: "#d9a520",
  orange: "#d9702b",
  navy: "#24345c",
  beige: "#cdb896",
  brown: "#7a5639",
};

function colour(hint: string, seed: string): string {
  const word = hint.toLowerCase().split(/[^a-z]+/).find((word) => word in NAMED);
  if (word !== undefined) return NAMED[word] as string;
  // The end of a time-ordered id differs most.
  const hue = Number.parseInt(seed.replace(/-/g, "").slice(-4), 16) % 360;
  return `hsl(${hue || 0} 45% 46%)`;
}

/** Decoration: the product's name stands beside it. */
export function Sneaker(props: { seed: string; hint?: string; spent?: boolean }) {
  const body = colour(props.hint ?? "", props.seed);
  const pale = body === NAMED.white || body === NAMED.beige;
  return (
    <svg class={["sneaker", pale && "pale", props.spent && "spent"].filter(Boolean).join(" ")} viewBox="0 0 320 200" aria-hidden="true" focusable="false">
      <ellipse class="shade" cx="160" cy="172" rx="132" ry="8" />
      <path
        fill={body}
        d="M44 66c10 9 30 11 47-2 7-5 16-5 22 2 13 16 30 34 58 45 24 9 58 10 84 19 20 7 30 14 32 24H38c-4-20-4-62 6-88z"
      />
      <path
        class="dark"
        d="M44 66c10 9 30 11 47-2 7-5 16-5 22 2l6 7c-18 16-54 18-79 10 1-7 2-12 4-17z"
      />
      <path class="light" d="M226 123.5c10 1.5 20 3.5 29 6.5 20 7 30 14 32 24h-59c-13-8-14-22-2-30.5z" />
      <path class="stripe" d="M62 132c32 5 72-2 108-22l11 5c-34 25-82 37-121 31z" />
      <path class="lace" d="M121 77l20-12M135 92l20-13M151 104l19-13M169 113l16-13" />
      <path class="sole" d="M36 150h253c4 0 6 3 5 7-1 6-5 10-11 10H46c-8 0-12-6-12-14 0-2 1-3 2-3z" />
      <path class="tread" d="M40 159h252" />
    </svg>
  );
}
