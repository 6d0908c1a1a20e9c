// A manager that was started with another address than the quorum has for it tells the others. It hears nobody until then:
// what they send goes to the old address. So it asks each of them, and who does not lead passes the call on.
import type { Client } from "@grpc/grpc-js";
import type { Clock } from "#base/clock.ts";
import type { Logger } from "#base/log.ts";
import type { ReplicatedLog } from "#control-plane/log/log.ts";
import { ControlDefinition } from "#proto/gen/control.ts";
import { createClient } from "#proto/rpc/client.ts";

const RETRY_MS = 1_000;
const ANSWER_MS = 5_000;

export type OwnAddress = {
  readonly log: Pick<ReplicatedLog, "status" | "addMember">;
  /** host:port */
  readonly advertise: string;
  readonly dial: (address: string) => Client;
  readonly clock: Clock;
  readonly logger: Logger;
};

/** Tries until the quorum has the address. The returned function ends that. */
export const keepAddress = ({ log, advertise, dial, clock, logger }: OwnAddress): (() => void) => {
  let stopped = false;
  let cancel = () => {};

  const tell = async (): Promise<void> => {
    const { raftId, isLeader, members } = log.status();
    const own = members.find((m) => m.raftId === raftId);
    if (own === undefined || own.addr === advertise) return;
    try {
      logger.info("this manager has another address", { from: own.addr, to: advertise });
      if (isLeader) await log.addMember(own.nodeId, advertise);
      else
        await Promise.any(
          members
            .filter((m) => m !== own)
            .map((m) =>
              createClient(ControlDefinition, dial(m.addr)).moveManager({ addr: advertise }, { deadlineMs: ANSWER_MS }),
            ),
        );
    } catch (error) {
      logger.warn("the new address is not known to the others yet, will try again", { error });
    }
    // Also when it went well: it is done when this manager has heard of it.
    if (!stopped) cancel = clock.after(RETRY_MS, () => void tell());
  };

  void tell();
  return () => {
    stopped = true;
    cancel();
  };
};
