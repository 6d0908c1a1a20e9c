// The view in memory and on disk. Which tasks are here is on disk before anything is done about it: a restarted agent must
// neither stop what it was just given nor run what it has just forgotten. The rest may be a moment older; the next session
// begins with a complete view.
import type { Clock } from "#base/clock.ts";
import { removeReplacedFile } from "#base/node/replaced-file.ts";
import { applyAssignments, emptyView, loadView, saveView, type View } from "#node-agent/session/view.ts";
import type { Assignments } from "#proto/gen/dispatcher.ts";

/** Other changes are written this much later: a burst of assignments costs one write. */
const SAVE_VIEW_MS = 200;
/** What could not be written (a full disk) is tried again after this time: the agent goes on with what it has in memory. */
const RETRY_MS = 5_000;

export type KeptView = {
  readonly current: () => View;
  /** Throws as `applyAssignments` does. */
  apply(message: Assignments): View;
  /** Writes what is not written yet. */
  flush(): void;
  /** This node has left its cluster. */
  forget(): void;
};

const sameTasks = (a: View, b: View): boolean =>
  a.tasks.size === b.tasks.size && [...a.tasks.keys()].every((id) => b.tasks.has(id));

export const keepView = (path: string, clock: Clock): KeptView => {
  let view = loadView(path);
  let cancel: (() => void) | undefined;
  const dropTimer = () => {
    cancel?.();
    cancel = undefined;
  };
  const save = () => {
    dropTimer();
    saveView(path, view);
  };
  const saveLater = (ms: number) => {
    cancel ??= clock.after(ms, () => {
      try {
        save();
      } catch {
        saveLater(RETRY_MS);
      }
    });
  };
  return {
    current: () => view,
    apply(message) {
      const previous = view;
      view = applyAssignments(previous, message);
      if (!sameTasks(previous, view)) save();
      else saveLater(SAVE_VIEW_MS);
      return view;
    },
    flush() {
      if (cancel) save();
    },
    forget() {
      dropTimer();
      removeReplacedFile(path);
      view = emptyView;
    },
  };
};
