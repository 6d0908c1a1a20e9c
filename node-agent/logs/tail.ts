// Where the last N lines begin. Lines are counted from the end, block by block, so a log of any size costs what it returns.
import type { FileHandle } from "node:fs/promises";
import { parseLine } from "./k8s-file.ts";

const BLOCK_BYTES = 64 << 10;
const NEWLINE = 0x0a;

type Wanted = { readonly tail: number; readonly stdout: boolean; readonly stderr: boolean };

/** The lines of a file from its end, each with its offset. A last line without an end is left out: it is being written. */
async function* linesBackward(handle: FileHandle): AsyncGenerator<{ offset: number; line: Uint8Array }> {
  let position = (await handle.stat()).size;
  let rest = Buffer.alloc(0);
  let complete = false;
  while (position > 0) {
    const length = Math.min(BLOCK_BYTES, position);
    position -= length;
    const block = Buffer.allocUnsafe(length);
    const { bytesRead } = await handle.read(block, 0, length, position);
    let data = Buffer.concat([block.subarray(0, bytesRead), rest]);
    for (let at = data.lastIndexOf(NEWLINE); at >= 0; at = data.lastIndexOf(NEWLINE)) {
      if (complete) yield { offset: position + at + 1, line: data.subarray(at + 1) };
      complete = true;
      data = data.subarray(0, at);
    }
    rest = data;
  }
  if (complete) yield { offset: 0, line: rest };
}

/**
 * The file (index, old to new) and offset where reading for `tail` begins. A line in pieces counts once; output without an end of
 * line, at the very end, counts as a line.
 */
export const startOfTail = async (
  files: readonly FileHandle[],
  { tail, stdout, stderr }: Wanted,
): Promise<{ file: number; offset: number }> => {
  if (tail < 0) return { file: 0, offset: 0 };
  const last = files.length - 1;
  if (last < 0) return { file: 0, offset: 0 };
  let start = { file: last, offset: (await files[last]!.stat()).size };
  // Ends of lines seen; the pieces before an end belong to it until the next end of that stream.
  let ends = 0;
  const open = { stdout: false, stderr: false };
  for (let file = last; file >= 0; file--)
    for await (const { offset, line } of linesBackward(files[file]!)) {
      const piece = parseLine(line);
      if (!piece || !(piece.stderr ? stderr : stdout)) continue;
      const stream = piece.stderr ? "stderr" : "stdout";
      if (!piece.partial || !open[stream]) {
        if (ends === tail) return start;
        ends++;
        open[stream] = true;
      }
      start = { file, offset };
    }
  return { file: 0, offset: 0 };
};
