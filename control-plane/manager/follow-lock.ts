// Keeps what this manager has on its disk locked as the cluster wants it: with the unlock key, or with autolock off by the
// node's own key. Each change of the lock also begins a new data key, so that who could read the disk before can't read what
// is written from then on.
//
// Key file and identity file are changed in an order in which one key opens both at every moment: the key file gets a box for
// the new key, the agent seals the identity with it, and only then does the former key's box go. What a crash has interrupted
// goes on at the next start. Older states that the log replays at a start are not followed: the file knows the version.
import type { Logger } from "#base/log.ts";
import type { BoxKey } from "#base/node/sealed-box.ts";
import type { AgentPipe } from "#control-plane/manager/agent-pipe.ts";
import { type KeyFile, nodeWrappingKey, unlockWrappingKey } from "#control-plane/raft-host/key-file.ts";
import type { State } from "#control-plane/state/types.ts";

export type FollowLock = {
  readonly state: Pick<State, "cluster" | "watch">;
  readonly keys: KeyFile;
  readonly agent: Pick<AgentPipe, "keep">;
  /** The node's private key, PEM; another one after a renewal. */
  readonly keyPem: () => string;
  readonly logger: Logger;
  /** The files could not be written. */
  readonly onFailure: (error: unknown) => void;
};

/** Returns a function that looks again: the node has a new key. */
export const followLock = ({ state, keys, agent, keyPem, logger, onFailure }: FollowLock): (() => void) => {
  let working = false;
  let again = false;

  const settle = async (): Promise<void> => {
    again = true;
    if (working) return;
    working = true;
    try {
      while (again) {
        again = false;
        await once();
      }
    } catch (error) {
      onFailure(error);
    } finally {
      working = false;
    }
  };

  const once = async (): Promise<void> => {
    const cluster = state.cluster();
    if (cluster === undefined || cluster.lockVersion < keys.lockVersion) return;
    const { unlockKey, lockVersion } = cluster;
    const own = keyPem();
    const wanted: BoxKey = unlockKey === "" ? nodeWrappingKey(own) : unlockWrappingKey(unlockKey);
    if (lockVersion > keys.lockVersion) {
      keys.rotate(lockVersion, wanted);
      logger.info("the lock changes", { version: lockVersion, autolock: unlockKey !== "" });
    } else if (keys.openedBy.join() === wanted.id) return;
    else keys.add(wanted);
    if (await agent.keep(unlockKey, own)) keys.keepOnly(wanted);
  };

  state.watch(({ events, restored }) => {
    if (restored || events.some(({ table }) => table === "cluster")) void settle();
  });
  void settle();
  return () => void settle();
};
