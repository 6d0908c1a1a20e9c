// Where a call is answered: here when this manager leads, else by the leader, also while there is none for a moment.
import type { Client } from "@grpc/grpc-js";
import type { Clock } from "#base/clock.ts";
import { TswarmError } from "#base/errors.ts";
import type { Leadership } from "#control-plane/manager/leadership.ts";

/** How long a call waits for an election to end before it is refused. */
const LEADER_WAIT_MS = 5_000;
/** How long a leader that can't be reached is believed to lead, before it is asked again who does. */
const CONNECT_WAIT_MS = 250;

export type FindLeader = {
  readonly leadership: Pick<Leadership, "settled" | "leading" | "leaderAddr">;
  /** host:port of this manager. */
  readonly own: string;
  readonly dial: (address: string) => Client;
  /** Whether the other end of the channel is there within so many milliseconds. */
  readonly connected: (channel: Client, timeoutMs: number) => Promise<boolean>;
  readonly clock: Clock;
};

/**
 * The channel to the leader, connected; `undefined` when this manager leads. Throws `unavailable` when nobody who can be
 * reached leads within 5 s. Nothing was sent by then: a call that waits here for a new leader is made once.
 */
export const findLeader = async (options: FindLeader): Promise<Client | undefined> => {
  const { leadership, own, dial, connected, clock } = options;
  const deadline = clock.monotonic() + LEADER_WAIT_MS;
  for (let left = LEADER_WAIT_MS; left > 0; left = deadline - clock.monotonic()) {
    await leadership.settled(left);
    if (leadership.leading()) return undefined;
    const address = leadership.leaderAddr();
    if (address === "" || address === own) break;
    // One that has just died is still named, until another is elected.
    const channel = dial(address);
    if (await connected(channel, Math.min(left, CONNECT_WAIT_MS))) return channel;
  }
  throw new TswarmError(
    "unavailable",
    "no manager leads: a majority of the managers can't be reached, or an election is under way. Try again, and see `tsctl cluster status`.",
  );
};
