import { expect } from "chai";
import { resolveUser } from "./user.ts";

const passwd = "root:x:0:0:root:/root:/bin/sh\n# comment\nweb:x:33:34::/srv:/bin/sh\nbare:x:5:6\n";
const group = "root:x:0:\nweb:x:34:\nlogs:x:50:other,web\nextra:x:51:web\n";
const resolve = (user: string) => resolveUser(user, passwd, group);

describe("resolveUser", () => {
  it("is root when nothing is said, also in an image without /etc/passwd", () => {
    expect(resolve("")).to.deep.equal({ uid: 0, gid: 0, additionalGids: [0], home: "/root" });
    expect(resolveUser("", "", "")).to.deep.equal({ uid: 0, gid: 0, additionalGids: [0], home: "/" });
  });
  it("finds names and numbers, with the groups that list them", () => {
    const web = { uid: 33, gid: 34, additionalGids: [34, 50, 51], home: "/srv" };
    expect(resolve("web")).to.deep.equal(web);
    expect(resolve("33")).to.deep.equal(web);
  });
  it("takes a group instead of the user's own", () => {
    expect(resolve("web:logs")).to.deep.include({ uid: 33, gid: 50, additionalGids: [] });
    expect(resolve("1000:70")).to.deep.equal({ uid: 1000, gid: 70, additionalGids: [], home: "/" });
  });
  it("copes with short lines", () => {
    expect(resolve("bare")).to.deep.include({ uid: 5, gid: 6, home: "/" });
  });
  it("refuses unknown names and ids beyond 32 bits", () => {
    for (const user of ["nobody", "web:nobody", "4294967295", "0:4294967295"])
      expect(() => resolve(user), user)
        .to.throw()
        .with.property("code", "invalid");
  });
});
