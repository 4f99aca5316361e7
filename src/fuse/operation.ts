import type { Struct } from './abi-struct.js';
import type { Message, Request } from './message.js';
import type { Session } from './session.js';

export type Handler = (session: Session, request: Request, message: Message) => void;

/** One row of the opcode table: what the request must hold before its handler runs. */
export interface Operation {
  /** The kernel's name. */
  readonly label: string;
  readonly bodyBytes: number;
  /** NUL-terminated byte strings behind the body. */
  readonly strings: number;
  /** How many of these are names of directory entries. */
  readonly names: number;
  /** Not about an inode that must be known. */
  readonly anywhere?: true;
  /** The kernel wants no answer. */
  readonly silent?: true;
  /** Asks for a change of the volume. */
  readonly changes?: true;
  readonly handle: Handler;
}

interface Shape {
  readonly body?: Struct;
  readonly strings?: number;
  readonly names?: number;
  readonly anywhere?: true;
  readonly silent?: true;
  readonly changes?: true;
}

export function operation(label: string, shape: Shape, handle: Handler): Operation {
  return {
    label,
    bodyBytes: shape.body?.bytes ?? 0,
    strings: Math.max(shape.strings ?? 0, shape.names ?? 0),
    names: shape.names ?? 0,
    ...(shape.anywhere === true ? { anywhere: true } : {}),
    ...(shape.silent === true ? { silent: true } : {}),
    ...(shape.changes === true ? { changes: true } : {}),
    handle,
  };
}
