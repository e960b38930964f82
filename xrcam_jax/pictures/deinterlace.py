"""Interlaced frames become whole ones: one frame for each that is stored.

An interlaced frame is two fields, its even and its odd rows, of two moments: where something moves, it is combed.
FFmpeg's filter bwdif keeps the rows of the first field and fills in the others from both fields and the frames beside.
"""

from collections.abc import Iterable, Iterator

import av
from av.filter import Graph
from av.video.frame import VideoFrame


def deinterlaced(frames: Iterable[VideoFrame]) -> Iterator[VideoFrame]:
    """Passes frames on as they are, from the first one that says it is interlaced on through the filter.

    The filter leaves progressive frames as they are.

    Args:
      frames: of one video, all of one size and pixel format.

    Returns:
      As many frames, at the same times.

    Example:
      >>> import av
      >>> from xrcam_jax.pictures.deinterlace import deinterlaced
      >>> [frame.width for frame in deinterlaced([av.VideoFrame(8, 6, "gray")])]
      [8]
    """
    graph: Graph | None = None
    for frame in frames:
        if graph is None and not frame.interlaced_frame:
            yield frame
            continue
        graph = graph or _filter(frame)
        graph.vpush(frame)
        yield from _pulled(graph)
    if graph is not None:
        graph.vpush(None)
        yield from _pulled(graph)


def _filter(frame: VideoFrame) -> Graph:
    graph = Graph()
    source = graph.add(
        "buffer",
        video_size=f"{frame.width}x{frame.height}",
        pix_fmt=frame.format.name,
        time_base=str(frame.time_base),
        pixel_aspect="1/1",
        colorspace=str(int(frame.colorspace)),
        range=str(int(frame.color_range)),
    )
    graph.link_nodes(source, graph.add("bwdif", mode="send_frame", deint="interlaced"), graph.add("buffersink"))
    graph.configure()
    return graph


def _pulled(graph: Graph) -> Iterator[VideoFrame]:
    while True:
        try:
            yield graph.vpull()
        except (av.BlockingIOError, av.EOFError):
            return
