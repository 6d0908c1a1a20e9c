// Following objects over the watch stream, across changes of the leader: read everything, then take events; when the
// stream breaks, go on after the last of them.
import { TswarmError } from "#base/errors.ts";
import type { WatchEvent, WatchSelector } from "#proto/gen/control.ts";
import type { Cli } from "#tsctl/cli.ts";

const RETRY_MS = 300;
/** Longer than an election; a cluster without a quorum for so long needs its operator. */
const GIVE_UP_MS = 30_000;

export type Follower = {
  /** Reads the state as it is now; events that come after may repeat some of it. */
  load(): Promise<void>;
  event(event: WatchEvent): void;
  /** Called after each batch. True ends the watch. */
  settled(): boolean;
};

export const follow = async (
  cli: Cli,
  selectors: WatchSelector[],
  follower: Follower,
  signal: AbortSignal,
): Promise<void> => {
  let failing: number | undefined;
  let since: number | undefined;
  for (;;) {
    try {
      const control = await cli.control();
      for await (const { version, events, snapshot } of control.watch({ selectors, since }, { signal })) {
        failing = undefined;
        // Away for too long: a part of everything, which is read at once when the parts are over.
        if (snapshot) {
          since = undefined;
          continue;
        }
        // The first message stands for a state: what is read after it can't miss anything that comes later.
        if (since === undefined) await follower.load();
        since = version;
        for (const event of events) follower.event(event);
        if (follower.settled()) return;
      }
      throw new TswarmError("unavailable", "the watch ended");
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof TswarmError) || !error.retryable) throw error;
      failing ??= cli.now();
      if (cli.now() - failing > GIVE_UP_MS) throw error;
      await cli.sleep(RETRY_MS, signal);
    }
  }
};
