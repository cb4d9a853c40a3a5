"""Packing: which rows share a sequence, so that little of it is padding."""

from collections.abc import Sequence


def first_fit(lengths: Sequence[int], capacity: int) -> tuple[tuple[int, ...], ...]:
    """Put every row, in order, into the first sequence that has room for it.

    Nothing is cut, and the same rows in the same order are packed alike everywhere.

    Args:
        lengths: of the rows; none is above the capacity.
        capacity: of a sequence.

    Returns:
        The rows of each sequence, by their place in `lengths`, in the order of putting.

    Source: Johnson 1974, Fast algorithms for bin packing (first fit takes at most 1.7 times as
    many as the best packing).

    Example:
        >>> first_fit([5, 6, 3, 2, 4], capacity=8)
        ((0, 2), (1, 3), (4,))
    """
    sequences: list[list[int]] = []
    room: list[int] = []
    # Sequences into which the shortest row no longer fits are not looked at again.
    open_: list[int] = []
    shortest = min(lengths, default=0)
    for row, length in enumerate(lengths):
        place = next((each for each in open_ if room[each] >= length), len(sequences))
        if place == len(sequences):
            sequences.append([])
            room.append(capacity)
            open_.append(place)
        sequences[place].append(row)
        room[place] -= length
        if room[place] < shortest:
            open_.remove(place)
    return tuple(tuple(rows) for rows in sequences)
