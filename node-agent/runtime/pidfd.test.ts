import { expect } from "chai";
import { isAlive, sendSignal, signalNumber, startTicks, watchProcess } from "./pidfd.ts";
import { PROGRAM_ENV, spawn } from "./spawn.ts";

describe("processes by pidfd", () => {
  it("reports the end of a process that is no child of Node's, and its code", async () => {
    const { pid, exit } = spawn(["sh", "-c", "exit 7"], ["null", "null", "null"], PROGRAM_ENV);
    await new Promise<void>((resolve) => watchProcess(pid, resolve));
    expect(await exit).to.equal(7);
    await new Promise<void>((resolve) => watchProcess(pid, resolve));
  });
  it("gives 128 + signal for a killed child", async () => {
    const { pid, exit } = spawn(["sleep", "100"], ["null", "null", "null"], PROGRAM_ENV);
    expect(sendSignal({ pid, startTicks: startTicks(pid)! }, 9)).to.equal(true);
    expect(await exit).to.equal(137);
  });
  it("does not signal a successor", () => {
    expect(isAlive({ pid: process.pid, startTicks: startTicks(process.pid)! })).to.equal(true);
    expect(sendSignal({ pid: process.pid, startTicks: 1 }, 9)).to.equal(false);
  });
  it("says which program is missing", () => {
    expect(() => spawn(["/no/such"], ["null"], [])).to.throw("start /no/such: ENOENT");
  });
  it("knows signals by name and number", () => {
    expect(["SIGTERM", "term", "15", "SIGRTMIN+3", "RTMAX"].map(signalNumber)).to.deep.equal([15, 15, 15, 37, 64]);
    for (const wrong of ["", "SIGX", "0", "65", "SIGRTMIN+40"]) expect(() => signalNumber(wrong), wrong).to.throw();
  });
});
