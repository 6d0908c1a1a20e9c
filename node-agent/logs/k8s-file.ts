// The log format of conmon's driver "k8s-file": one line of a file per piece of output,
//   2026-11-21T02:49:23.678517359+00:00 stdout F text
// F: the piece ends a line; P: it does not (conmon's buffer was full, or the process wrote no end of line). Pure.

export type LogRecord = {
  /** Microseconds since the epoch. */
  readonly atUs: number;
  readonly stderr: boolean;
  /** Without the end of line. */
  readonly data: Uint8Array;
};
export type LogPiece = LogRecord & { readonly partial: boolean };

const SPACE = 0x20;
const PARTIAL = 0x50;

/** Seconds are the same for many lines, and Date.parse is most of the cost. */
let lastSecond = "";
let lastSecondUs = 0;

const timestampUs = (text: string): number => {
  const second = text.slice(0, 19);
  if (second !== lastSecond) {
    const zone = /(Z|[+-]\d\d:\d\d)$/.exec(text)?.[0] ?? "Z";
    lastSecondUs = Date.parse(second + zone) * 1000;
    lastSecond = second;
  }
  const fraction = /^\.(\d{1,6})/.exec(text.slice(19))?.[1] ?? "0";
  return lastSecondUs + Number(fraction.padEnd(6, "0"));
};

/** One line of the file without its end; undefined when it has another form (a machine that crashed may leave such). */
export const parseLine = (line: Uint8Array): LogPiece | undefined => {
  const afterTime = line.indexOf(SPACE);
  const afterStream = line.indexOf(SPACE, afterTime + 1);
  if (afterTime < 19 || afterStream < 0 || line[afterStream + 2] !== SPACE) return undefined;
  const head = Buffer.from(line.buffer, line.byteOffset, afterStream).toString("latin1");
  const stream = head.slice(afterTime + 1);
  const atUs = timestampUs(head.slice(0, afterTime));
  if ((stream !== "stdout" && stream !== "stderr") || Number.isNaN(atUs)) return undefined;
  return {
    atUs,
    stderr: stream === "stderr",
    partial: line[afterStream + 1] === PARTIAL,
    data: line.subarray(afterStream + 3),
  };
};

/** A line that never ends is given out in parts of this size. */
const MAX_LINE_BYTES = 256 << 10;

/** Puts the pieces of a line together again, each stream by itself. The time is that of the first piece. */
export const createJoiner = (): { push(piece: LogPiece): LogRecord | undefined; rest(): LogRecord[] } => {
  const open: { out?: Started; err?: Started } = {};
  type Started = { atUs: number; parts: Uint8Array[]; bytes: number };
  const finish = (started: Started, stderr: boolean): LogRecord => ({
    atUs: started.atUs,
    stderr,
    data: Buffer.concat(started.parts),
  });
  return {
    push(piece) {
      const key = piece.stderr ? "err" : "out";
      const started = open[key];
      if (!started && !piece.partial) return { atUs: piece.atUs, stderr: piece.stderr, data: piece.data };
      const line = started ?? (open[key] = { atUs: piece.atUs, parts: [], bytes: 0 });
      // A copy: the bytes belong to the reader's buffer, and a piece may wait long.
      line.parts.push(Uint8Array.from(piece.data));
      line.bytes += piece.data.length;
      if (piece.partial && line.bytes < MAX_LINE_BYTES) return undefined;
      delete open[key];
      return finish(line, piece.stderr);
    },
    /** Output that no end of line followed. */
    rest() {
      const records = [open.out && finish(open.out, false), open.err && finish(open.err, true)];
      delete open.out;
      delete open.err;
      return records.filter((record) => record !== undefined);
    },
  };
};
