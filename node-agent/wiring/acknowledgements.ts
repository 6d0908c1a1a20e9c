// When the manager may be told that the kernel is as it said: after an apply that began later and made every removal. Only
// the newest message's acknowledgement is kept, for it speaks for those before. Pure.

export type Acknowledgements = {
  /** A view came; `tell` is for when it is applied. Who must change something for it calls `begin` before anything else. */
  add(tell: () => void): void;
  /** The last view asks for nothing: only what is under way stands before it. */
  nothingToDo(): void;
  begin(): ApplyUnderWay;
};

export type ApplyUnderWay = {
  /** From now on views are for a later apply. */
  include(): void;
  /** `complete`: every removal was made. */
  end(complete: boolean): void;
};

export const createAcknowledgements = (): Acknowledgements => {
  let waiting: (() => void) | undefined;
  let underWay = 0;
  /** The last apply has left something in the kernel that a view took away. */
  let incomplete = false;

  const tellWaiting = (): void => {
    const tell = waiting;
    waiting = undefined;
    tell?.();
  };

  return {
    add(tell) {
      waiting = tell;
    },
    nothingToDo() {
      if (underWay === 0 && !incomplete) tellWaiting();
    },
    begin() {
      let included: (() => void) | undefined;
      underWay++;
      return {
        include() {
          included = waiting;
        },
        end(complete) {
          underWay--;
          incomplete = !complete;
          if (!complete) return;
          if (underWay === 0 || included === waiting) tellWaiting();
          else included?.();
        },
      };
    },
  };
};
