/** Identity of a brick: 32 lower-case hex digits, chosen when the volume is created. */
export type BrickId = string;

export interface View {
  /** 0: the volume was never started. Grows by one with every change. */
  epoch: number;
  /** Always a member of inSync, or '' before the first start. */
  primary: BrickId;
  /** A majority of the replica set that holds every acknowledged change. */
  inSync: BrickId[];
  /** Bricks that receive all new changes while they are made equal to the primary. */
  catchingUp: BrickId[];
}

export const EMPTY_VIEW: View = { epoch: 0, primary: '', inSync: [], catchingUp: [] };

