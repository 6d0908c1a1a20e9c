// Programs of the host start and stop listening, and routes come and go, without anybody telling us: the node looks at itself
// once a minute and speaks only of what is new.
import { isDeepStrictEqual } from "node:util";
import type { Clock } from "#base/clock.ts";
import type { Logger } from "#base/log.ts";
import type { NodeDescription } from "#proto/gen/types.ts";

const PERIOD_MS = 60_000;

export type DescriptionChanges = {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly describe: () => NodeDescription;
  /** The node is not any more as it was described last. */
  readonly onChange: () => void;
};

/** `describe` with a memory, for all who describe the node, and the end of the looking. */
export const watchDescription = ({ clock, logger, describe, onChange }: DescriptionChanges) => {
  let last: NodeDescription | undefined;
  let cancel = (): void => {};
  const look = (): void => {
    cancel = clock.after(PERIOD_MS, look);
    try {
      if (last !== undefined && !isDeepStrictEqual(describe(), last)) onChange();
    } catch (error) {
      logger.warn("node not described", { error });
    }
  };
  cancel = clock.after(PERIOD_MS, look);
  return {
    description: (): NodeDescription => (last = describe()),
    /** As it was described last, without looking: who listens is found in all processes of the host, hundreds of ms of many. */
    known: (): NodeDescription => last ?? describe(),
    stop: () => cancel(),
  };
};
