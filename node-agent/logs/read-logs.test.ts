import { appendFileSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { type ReadOptions, readLogs } from "./read-logs.ts";

const START = Date.UTC(2026, 10, 21);
/** Second n, one line. */
const line = (n: number, text: string, stream = "stdout", flag = "F") =>
  `${new Date(START + n * 1000).toISOString().replace("Z", "000000+00:00")} ${stream} ${flag} ${text}\n`;

describe("readLogs", () => {
  let dir: string;
  let path: string;
  beforeEach(() => {
    dir = mkdtempSync("/tmp/tswarm-logs-");
    path = join(dir, "log");
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));

  const all = (changes: Partial<ReadOptions> = {}): ReadOptions => ({
    ...{ follow: false, tail: -1, since: 0, stdout: true, stderr: true, signal: new AbortController().signal },
    ...changes,
  });
  const texts = async (changes: Partial<ReadOptions> = {}) => {
    const found: string[] = [];
    for await (const { data } of readLogs(path, all(changes))) found.push(Buffer.from(data).toString());
    return found;
  };
  /** Reads until this many lines have come, calling back at each. */
  const follow = async (count: number, changes: Partial<ReadOptions>, at: (n: number) => void) => {
    const abort = new AbortController();
    const found: string[] = [];
    for await (const { data } of readLogs(path, all({ follow: true, signal: abort.signal, ...changes }))) {
      found.push(Buffer.from(data).toString());
      at(found.length);
      if (found.length === count) abort.abort();
    }
    return found;
  };

  it("is empty without a file", async () => {
    expect(await texts()).to.deep.equal([]);
    expect(await texts({ tail: 5 })).to.deep.equal([]);
  });

  it("reads rotated files from old to new, and joins a line across them", async () => {
    writeFileSync(`${path}.2`, line(1, "one"));
    writeFileSync(`${path}.1`, line(2, "two") + line(3, "thr", "stdout", "P"));
    writeFileSync(path, line(4, "ee") + line(5, "four", "stderr"));
    writeFileSync(`${path}.tmp`, line(9, "not a log"));
    expect(await texts()).to.deep.equal(["one", "two", "three", "four"]);
    expect(await texts({ stderr: false })).to.deep.equal(["one", "two", "three"]);
    expect(await texts({ since: START + 2000 })).to.deep.equal(["two", "three", "four"]);
  });

  it("finds the last lines for every count, as a plain count would", async () => {
    const streams = ["stdout", "stdout", "stderr"];
    const lines = Array.from({ length: 60 }, (_, n) => ({
      n,
      stream: streams[n % 3]!,
      text: `${n}${"x".repeat((n % 7) * 3000)}`,
    }));
    const write = (file: string, some: typeof lines) => {
      const pieces = some.map(({ n, stream, text }) =>
        n % 5 ? line(n, text, stream) : line(n, text.slice(0, 1), stream, "P") + line(n, text.slice(1), stream),
      );
      writeFileSync(file, pieces.join(""));
    };
    write(`${path}.1`, lines.slice(0, 25));
    write(path, lines.slice(25));
    for (const stderr of [true, false])
      for (let tail = 0; tail <= 62; tail++) {
        const wanted = lines.filter(({ stream }) => stderr || stream === "stdout").map(({ text }) => text);
        expect(await texts({ tail, stderr }), `tail ${tail}`).to.deep.equal(tail === 0 ? [] : wanted.slice(-tail));
      }
  });

  it("shows output without an end of line when not following", async () => {
    writeFileSync(path, line(1, "a") + line(2, "prompt> ", "stdout", "P"));
    expect(await texts()).to.deep.equal(["a", "prompt> "]);
    expect(await texts({ tail: 1 })).to.deep.equal(["prompt> "]);
  });

  it("skips what a crash left, and a line that is being written", async () => {
    writeFileSync(path, `${line(1, "a")}\0\0\0\0\n${line(2, "b")}${line(3, "half").slice(0, 20)}`);
    expect(await texts()).to.deep.equal(["a", "b"]);
    expect(await texts({ tail: 1 })).to.deep.equal(["b"]);
  });

  it("follows a file that comes later, in any portions", async () => {
    const parts = [line(1, "one"), line(2, "two").slice(0, 30), line(2, "two").slice(30), line(3, "three")];
    const reading = follow(3, {}, () => {});
    for (const part of parts) {
      appendFileSync(path, part);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    expect(await reading).to.deep.equal(["one", "two", "three"]);
  });

  it("follows with a tail, and ends at once when told before", async () => {
    writeFileSync(path, line(1, "old") + line(2, "last"));
    const found = await follow(3, { tail: 1 }, (n) => appendFileSync(path, line(2 + n, `new ${n}`)));
    expect(found).to.deep.equal(["last", "new 1", "new 2"]);
    expect(await texts({ follow: true, signal: AbortSignal.abort() })).to.deep.equal([]);
  });

  it("follows across rotations without losing or repeating a line", async () => {
    const total = 400;
    let written = 0;
    const write = () => {
      if (written % 37 === 36) {
        // As the rotation does: the writer goes on in the renamed file before it makes the new one.
        renameSync(path, `${path}.1`);
        appendFileSync(`${path}.1`, line(written, String(written++)));
        writeFileSync(`${path}.tmp`, "");
        renameSync(`${path}.tmp`, path);
      } else appendFileSync(path, line(written, String(written++)));
    };
    write();
    const found = await follow(total, {}, () => {
      if (written < total) write();
    });
    expect(found).to.deep.equal(Array.from({ length: total }, (_, n) => String(n)));
  });

  it("catches up when it is several rotations behind", async () => {
    writeFileSync(path, line(0, "0"));
    const found = await follow(4, {}, (n) => {
      if (n > 1) return;
      renameSync(path, `${path}.1`);
      writeFileSync(path, line(1, "1"));
      renameSync(`${path}.1`, `${path}.2`);
      renameSync(path, `${path}.1`);
      appendFileSync(`${path}.1`, line(2, "2"));
      writeFileSync(path, line(3, "3"));
    });
    expect(found).to.deep.equal(["0", "1", "2", "3"]);
  });
});
