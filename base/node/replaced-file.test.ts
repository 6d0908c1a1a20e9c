import { mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { readReplacedFile, removeReplacedFile, replaceFile } from "#base/node/replaced-file.ts";

describe("a file that is replaced", () => {
  let dir: string;
  let path: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "tswarm-"));
    path = join(dir, "f");
  });
  afterEach(() => rmSync(dir, { recursive: true }));
  const content = () => readReplacedFile(path)?.toString();

  it("has the last content and leaves nothing beside it", () => {
    expect(content()).to.equal(undefined);
    replaceFile(path, Buffer.from("one"));
    replaceFile(path, Buffer.from("two"));
    expect(content()).to.equal("two");
    expect(readdirSync(dir)).to.deep.equal(["f"]);
  });

  it("is whole wherever a replacement was cut off", () => {
    replaceFile(path, Buffer.from("old"));
    writeFileSync(`${path}.part`, "ne");
    expect(content(), "while writing").to.equal("old");
    writeFileSync(`${path}.part`, "new");
    renameSync(`${path}.part`, `${path}.new`);
    expect(content(), "written").to.equal("new");
    rmSync(path);
    expect(content(), "old one removed").to.equal("new");
    replaceFile(path, Buffer.from("newer"));
    expect(content()).to.equal("newer");
    expect(readdirSync(dir)).to.deep.equal(["f"]);
  });

  it("is gone after its removal, whatever was left", () => {
    replaceFile(path, Buffer.from("old"));
    writeFileSync(`${path}.new`, "new");
    removeReplacedFile(path);
    expect(content()).to.equal(undefined);
    expect(readdirSync(dir)).to.deep.equal([]);
  });
});
