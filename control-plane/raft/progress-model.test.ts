// The leader's picture of a member under random events, against what is true whatever happens: it never believes more than it
// was told, keeps to its limits, and comes back from anywhere.
import { expect } from "chai";
import fc from "fast-check";
import { type InflightLimits, Progress } from "#control-plane/raft/progress.ts";

const limits: InflightLimits = { messages: 4, bytes: 100 };
type Event = { do: "send" | "ack" | "reject" | "heartbeat" | "unreachable" | "snapshot" | "snapshot-end"; n: number };

const events = fc.array(
  fc.record<Event>({
    do: fc.constantFrom(
      "send",
      "send",
      "send",
      "ack",
      "ack",
      "reject",
      "heartbeat",
      "unreachable",
      "snapshot",
      "snapshot-end",
    ),
    n: fc.nat(60),
  }),
  { maxLength: 80 },
);

describe("progress, random events", () => {
  it("keeps match at the highest acknowledged index and next behind it, and comes back from any state", () => {
    fc.assert(
      fc.property(events, (sequence) => {
        const progress = new Progress(10, false, true, limits);
        let highest = 0;
        for (const event of sequence) {
          const { match } = progress;
          switch (event.do) {
            case "send": {
              if (progress.paused || (progress.state === "replicate" && progress.full)) break;
              progress.sent(1 + (event.n % 3), event.n);
              break;
            }
            case "ack": {
              // Nobody acknowledges what was never sent.
              const index = Math.min(event.n, progress.next - 1);
              highest = Math.max(highest, index);
              expect(progress.acked(index)).to.equal(index > match);
              if (progress.state === "probe" && index > match) progress.becomeReplicate();
              break;
            }
            case "reject":
              if (
                progress.rejected(event.n, Math.max(0, event.n - 1 - (event.n % 5))) &&
                progress.state === "replicate"
              )
                progress.becomeProbe();
              break;
            case "heartbeat":
              progress.resumeProbe();
              if (progress.state === "replicate") progress.freeOne();
              expect(progress.match).to.equal(match);
              break;
            case "unreachable":
              if (progress.state === "replicate") progress.becomeProbe();
              break;
            case "snapshot":
              progress.becomeSnapshot(Math.max(match, event.n));
              break;
            case "snapshot-end":
              if (progress.state !== "snapshot") break;
              if (event.n % 2 === 0) progress.snapshotFailed();
              progress.becomeProbe();
              progress.pauseProbe();
          }
          expect(progress.match, event.do).to.equal(highest);
          expect(progress.next, event.do).to.be.greaterThan(progress.match);
          if (progress.state === "replicate") expect(progress.paused, event.do).to.equal(false);
          if (progress.state === "snapshot") expect(progress.paused, event.do).to.equal(true);
        }
        // Whatever it was, an answered heartbeat and an answer bring it back.
        if (progress.state === "snapshot") progress.becomeProbe();
        progress.resumeProbe();
        expect(progress.state === "replicate" || !progress.paused).to.equal(true);
      }),
      { numRuns: 500 },
    );
  });

  it("the window is full exactly when a list of what is in flight says so", () => {
    const steps = fc.array(fc.record({ ack: fc.boolean(), n: fc.nat(50) }), { maxLength: 60 });
    fc.assert(
      fc.property(steps, (sequence) => {
        const progress = new Progress(1, false, true, limits);
        progress.becomeReplicate();
        let flying: { last: number; bytes: number }[] = [];
        for (const { ack, n } of sequence) {
          if (ack) {
            const index = Math.min(n, progress.next - 1);
            progress.acked(index);
            flying = flying.filter((message) => message.last > index);
          } else if (!progress.full) {
            progress.sent(1 + (n % 2), n);
            flying.push({ last: progress.next - 1, bytes: n });
          } else {
            // An answered heartbeat gives one place.
            progress.freeOne();
            flying.shift();
          }
          const bytes = flying.reduce((sum, message) => sum + message.bytes, 0);
          expect(progress.full).to.equal(flying.length >= limits.messages || bytes >= limits.bytes);
        }
      }),
      { numRuns: 500 },
    );
  });
});
