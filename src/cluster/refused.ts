import { Errno } from '../base/errno.js';

/** A command that was understood and not carried out. The message is a sentence for the operator: what was wrong, where, what to do. */
export class Refused extends Error {
  readonly errno: number;

  constructor(message: string, errno: number = Errno.EINVAL, options?: ErrorOptions) {
    super(message, options);
    this.name = 'Refused';
    this.errno = errno;
  }
}
