// Lines over the last minute. The plot is drawn to fit whatever room there is; words and figures
// stand beside it as text, so that they keep their shape.
import type { Scale } from "./scale";

export interface Line {
  readonly name: string;
  /** The colour, and how the line is drawn: never told apart by colour alone. */
  readonly look: "first" | "second" | "third";
  readonly points: readonly (readonly [atMs: number, value: number])[];
}

export interface Mark {
  readonly atMs: number;
  readonly name: string;
}

/** The plot's own units; it is stretched to its room. */
const WIDTH = 1000;
const HEIGHT = 400;
/** Between the names of two marks. */
const MARK_ROW_EM = 1.3;

export function Chart(props: {
  title: string;
  /** All that the lines say, in words. */
  summary: string;
  lines: readonly Line[];
  marks: readonly Mark[];
  scale: Scale;
  nowMs: number;
  windowMs: number;
  told: (value: number) => string;
  began: string;
  now: string;
}) {
  const { scale, nowMs, windowMs } = props;
  const x = (atMs: number) => WIDTH * (1 - (nowMs - atMs) / windowMs);
  const y = (value: number) => HEIGHT * (1 - scale.place(value));
  const marks = props.marks.filter(({ atMs }) => atMs > nowMs - windowMs && atMs <= nowMs);
  return (
    <figure class="chart">
      <figcaption>
        <span class="title">{props.title}</span>
        {props.lines.map(({ name, look }) => (
          <span key={look} class={`key ${look}`}>
            <svg viewBox="0 0 30 8" aria-hidden="true"><path d="M0 4H30" class={`line ${look}`} /></svg>
            {name}
          </span>
        ))}
      </figcaption>
      <div class="plot">
        <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={props.summary}>
          {scale.ticks.map((tick) => <path key={tick} class="grid" d={`M0 ${y(tick)}H${WIDTH}`} />)}
          {marks.map(({ atMs, name }) => <path key={name} class="mark" d={`M${x(atMs)} 0V${HEIGHT}`} />)}
          {props.lines.map(({ look, points }) => (
            <path key={look} class={`line ${look}`} d={path(points.map(([atMs, value]) => [x(atMs), y(value)]))} />
          ))}
        </svg>
        <div class="ticks" aria-hidden="true">
          {scale.ticks.map((tick) => (
            <span key={tick} style={{ bottom: `${100 * scale.place(tick)}%` }}>{props.told(tick)}</span>
          ))}
        </div>
        <div class="marks" aria-hidden="true">
          {marks.map(({ atMs, name }, row) => {
            const share = x(atMs) / WIDTH;
            // Each name in a row of its own, on the side where there is room for it.
            const side = share > 0.5 ? { right: `${100 * (1 - share)}%` } : { left: `${100 * share}%` };
            return <span key={name} style={{ ...side, top: `${row * MARK_ROW_EM}em` }}>{name}</span>;
          })}
        </div>
      </div>
      <div class="axis" aria-hidden="true"><span>{props.began}</span><span>{props.now}</span></div>
    </figure>
  );
}

function path(points: readonly (readonly [number, number])[]): string {
  return points.map(([x, y], place) => `${place === 0 ? "M" : "L"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
}
