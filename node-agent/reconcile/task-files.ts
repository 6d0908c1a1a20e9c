// What a task has on disk: <dir>/<task id>/task.bin (the task with each of its statuses), its root filesystem, its files and
// log. The record is written before the state is reported, so that a restarted agent never takes a state back.
import { mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { appendRecord, readLastRecord } from "#base/node/last-record.ts";
import { Task } from "#proto/gen/types.ts";

export type TaskPaths = {
  readonly dir: string;
  readonly rootfs: string;
  readonly log: string;
  readonly hosts: string;
  readonly hostname: string;
  readonly resolvConf: string;
};

export const taskPaths = (tasksDir: string, id: string): TaskPaths => {
  const dir = join(tasksDir, id);
  return {
    dir,
    rootfs: join(dir, "rootfs"),
    log: join(dir, "log"),
    hosts: join(dir, "hosts"),
    hostname: join(dir, "hostname"),
    resolvConf: join(dir, "resolv.conf"),
  };
};

export const saveTask = (tasksDir: string, task: Task): void => {
  const { dir } = taskPaths(tasksDir, task.id);
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  appendRecord(join(dir, "task.bin"), Task.encode(task).finish());
};

/**
 * The tasks that are recorded, and the ids of folders without a whole record: their first write was cut off, by a crash
 * before anything was done for the task or by a power loss, after which nothing of it runs any more.
 */
export const loadTasks = (tasksDir: string): { readonly tasks: Task[]; readonly broken: string[] } => {
  mkdirSync(tasksDir, { recursive: true, mode: 0o700 });
  const tasks: Task[] = [];
  const broken: string[] = [];
  for (const id of readdirSync(tasksDir)) {
    const task = readTask(join(tasksDir, id, "task.bin"));
    if (task?.id === id && task.status && task.spec?.container) tasks.push(task);
    else broken.push(id);
  }
  return { tasks, broken };
};

const readTask = (path: string): Task | undefined => {
  try {
    const bytes = readLastRecord(path);
    return bytes && Task.decode(bytes);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // No errno: the bytes are no task.
    if (code === undefined || code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw error;
  }
};

export const deleteTask = (tasksDir: string, id: string): void =>
  rmSync(taskPaths(tasksDir, id).dir, { recursive: true, force: true });
