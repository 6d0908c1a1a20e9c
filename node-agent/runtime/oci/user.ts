// "name|uid[:group|gid]" → ids, by the text of the image's /etc/passwd and /etc/group. Pure; `rootfs-file.ts` reads the files.
import { refuse } from "#base/errors.ts";

export type ResolvedUser = {
  readonly uid: number;
  readonly gid: number;
  readonly additionalGids: readonly number[];
  /** From /etc/passwd, "/" for a user that is not there. */
  readonly home: string;
};

/** Ids are 32 bits; the last one means "unchanged" to the kernel (chown(2)). */
const MAX_ID = 2 ** 32 - 2;

const numeric = (field: string, text: string): number | undefined => {
  if (!/^[0-9]+$/.test(text)) return undefined;
  const id = Number(text);
  if (id > MAX_ID) throw refuse("invalid", field, `${text} is no user or group id`, `Use 0 to ${MAX_ID}`);
  return id;
};

const lines = (text: string): string[][] =>
  text.split("\n").flatMap((line) => (line === "" || line.startsWith("#") ? [] : [line.split(":")]));

/**
 * As Docker: an unknown number is taken as it is (group 0), an unknown name is refused. Groups that list the user are added unless a
 * group is given.
 */
export const resolveUser = (user: string, passwdText: string, groupText: string): ResolvedUser => {
  const [wantedUser = "", wantedGroup = ""] = user.split(":");
  const passwd = lines(passwdText);
  const groups = lines(groupText);
  const uid = numeric("user", wantedUser === "" ? "0" : wantedUser);
  const entry = passwd.find(([name, , id]) => (uid === undefined ? name === wantedUser : Number(id) === uid));
  if (uid === undefined && !entry)
    throw refuse(
      "invalid",
      "user",
      `the image has no user "${wantedUser}"`,
      "Use a name of its /etc/passwd, or a number",
    );
  const home = entry?.[5] || "/";
  const resolvedUid = uid ?? Number(entry![2]);

  if (wantedGroup !== "") {
    const group = groups.find(([name]) => name === wantedGroup);
    const gid = group ? Number(group[2]) : numeric("user", wantedGroup);
    if (gid === undefined)
      throw refuse(
        "invalid",
        "user",
        `the image has no group "${wantedGroup}"`,
        "Use a name of its /etc/group, or a number",
      );
    return { uid: resolvedUid, gid, additionalGids: [], home };
  }
  const gid = entry ? Number(entry[3]) : 0;
  const listed = groups.filter(([, , , members = ""]) => entry && members.split(",").includes(entry[0]!));
  const additionalGids = [...new Set([gid, ...listed.map(([, , id]) => Number(id))])].filter(Number.isInteger);
  return { uid: resolvedUid, gid, additionalGids, home };
};
