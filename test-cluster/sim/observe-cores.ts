// A core is made deep inside the host, which shows only its messages. Each core starts its election timer as the last step of
// its construction: that is where the simulator gets hold of it, without a door in the product.
import { Core } from "#control-plane/raft/core.ts";

/** Calls `onCore` with each core that is made until the returned function is called. */
export const observeCores = (onCore: (core: Core) => void): (() => void) => {
  const original = Core.prototype.restartElectionTimer;
  const seen = new WeakSet<Core>();
  Core.prototype.restartElectionTimer = function (this: Core): void {
    original.call(this);
    if (seen.has(this)) return;
    seen.add(this);
    onCore(this);
  };
  return () => {
    Core.prototype.restartElectionTimer = original;
  };
};
