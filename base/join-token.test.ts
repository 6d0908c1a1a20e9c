import { expect } from "chai";
import type { TswarmError } from "#base/errors.ts";
import { newJoinToken, parseJoinToken } from "#base/join-token.ts";
import { seededRandom } from "#base/random.ts";

describe("join token", () => {
  const digest = "0f".repeat(32);

  it("carries digest and secret, with blanks around it or not", () => {
    const token = newJoinToken(digest, seededRandom(7));
    const { caDigest, secret } = parseJoinToken(` ${token}\n`);
    expect(caDigest).to.equal(digest);
    expect(token).to.equal(`TSWTKN-1-${digest}-${secret}`);
    expect(newJoinToken(digest, seededRandom(8))).to.not.equal(token);
  });

  const good = newJoinToken(digest, seededRandom(7));
  for (const [what, token] of [
    ["nothing", ""],
    ["Swarm's", good.replace("TSW", "SWM")],
    ["another version", good.replace("-1-", "-2-")],
    ["one that is cut off", good.slice(0, -1)],
    ["one with more behind it", `${good}x`],
    ["capitals", good.toUpperCase()],
  ] as const)
    it(`refuses ${what}`, () => {
      let thrown: unknown;
      try {
        parseJoinToken(token);
      } catch (error) {
        thrown = error;
      }
      expect(thrown).to.have.property("code", "invalid");
      expect((thrown as TswarmError).issues[0]).to.have.property("field", "token");
    });
});
