import type { Tx, WriteContext } from "#control-plane/state/types.ts";
import type { Service, Task } from "#proto/gen/types.ts";

/** One service in one run of the orchestrator. The stages share it; each reads what those before it wrote. */
export type Pass = {
  readonly tx: Tx;
  readonly ctx: WriteContext;
  readonly service: Service;
  tasks(): readonly Task[];
  /** This service must be looked at again at this time (ms), if nothing happens earlier. */
  wake(at: number): void;
};
