import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, watch, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { keepLogSmall, rotate } from "./rotate.ts";

describe("log rotation", () => {
  let dir: string;
  let path: string;
  beforeEach(() => {
    dir = mkdtempSync("/tmp/tswarm-rotate-");
    path = join(dir, "log");
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));
  const contents = () =>
    Object.fromEntries(readdirSync(dir).map((name) => [name, readFileSync(join(dir, name), "utf8")]));

  it("keeps the number of files, the oldest goes", async () => {
    for (const text of ["a", "b", "c", "d"]) {
      writeFileSync(path, text);
      await rotate({ path, files: 3, reopen: async () => {} });
    }
    expect(contents()).to.deep.equal({ "log.1": "d", "log.2": "c" });
  });

  it("starts with a log that is too large already, and goes on watching the new file", async () => {
    writeFileSync(path, "x".repeat(100));
    let reopened = 0;
    const rotated = Promise.withResolvers<void>();
    const reopen = async () => {
      writeFileSync(path, "");
      if (++reopened === 2) rotated.resolve();
    };
    const rotation = keepLogSmall({ path, maxBytes: 50, files: 3, reopen, onError: rotated.reject });
    const watcher = watch(dir, () => {
      if (reopened === 1 && contents().log === "") setImmediate(() => appendFileSync(path, "y".repeat(60)));
    });
    try {
      await rotated.promise;
    } finally {
      rotation.close();
      watcher.close();
    }
    const files = contents();
    expect(files["log.2"]).to.equal("x".repeat(100));
    expect(files["log.1"]).to.match(/^y{60,}$/);
  });

  it("leaves a small log alone, and reports what goes wrong", async () => {
    writeFileSync(path, "x".repeat(60));
    const failed = Promise.withResolvers<unknown>();
    const reopen = () => Promise.reject(new Error("no writer"));
    const rotation = keepLogSmall({ path, maxBytes: 50, files: 2, reopen, onError: failed.resolve });
    expect(String(await failed.promise)).to.include("no writer");
    rotation.close();
  });
});
