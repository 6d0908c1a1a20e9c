import { expect } from "chai";
import type { Cli } from "#tsctl/cli.ts";
import { askSecret } from "#tsctl/output/ask-secret.ts";

describe("a question for a secret", () => {
  const ask = async (typed: string[], isTTY: boolean) => {
    let shown = "";
    const raw: boolean[] = [];
    const cli = {
      in: {
        isTTY,
        raw: () => {
          raw.push(true);
          return () => void raw.push(false);
        },
        async *bytes() {
          for (const text of typed) yield Buffer.from(text);
        },
      },
      err: { write: (text: string) => void (shown += text) },
    } as unknown as Cli;
    const answer = await askSecret(cli, "Key: ").catch((error) => error.message);
    return { answer, shown, raw };
  };

  it("shows nothing of what is typed, takes corrections, and leaves the terminal as it was", async () => {
    expect(await ask(["a", "bx", "\x7f", "c", "\r", "more"], true)).to.deep.equal({
      answer: "abc",
      shown: "Key: \n",
      raw: [true, false],
    });
  });

  it("ends with Ctrl-C", async () => {
    expect(await ask(["ab", "\x03", "c\r"], true)).to.deep.equal({
      answer: undefined,
      shown: "Key: \n",
      raw: [true, false],
    });
  });

  it("reads a line from a pipe without a word, with or without an end", async () => {
    for (const typed of [["ab", "c\nd"], ["abc"]])
      expect(await ask(typed, false)).to.deep.equal({ answer: "abc", shown: "", raw: [] });
    expect((await ask([], false)).answer).to.contain("it is empty");
  });
});
